import { hostname } from "node:os";
import { createClient } from "../client/client.ts";
import type { Client } from "../client/client.ts";
import type { Pairing } from "../client/device.ts";
import { ClientError } from "../client/error.ts";
import type { Hello } from "../client/methods.ts";
import { SCOPES } from "../protocol/schema.ts";
import { VERSION } from "../build.ts";
import type { Command, Input } from "./args.ts";
import { credentialOf, openDeviceKey } from "./device-key.ts";
import { CommandError, EXIT } from "./exit.ts";
import { gatewayOrigin } from "./gateway-file.ts";
import { scopesFrom } from "./grant.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { qrLines } from "./qr.ts";
import { rememberTrust } from "./remembered-trust.ts";
import { dim } from "./style.ts";
import { visible } from "./table.ts";
import type { Target } from "./target.ts";
import { GATEWAY_OPTIONS, findGateway, withAdvice } from "./target.ts";
import { isSecure, resolveTrust, trustingSocket } from "./trust.ts";

export const devicePair: Command = {
  name: "device pair",
  summary: "ask a gateway to let this machine in: shows a code and waits for its approval",
  usage: "",
  details: [
    "Makes a key for that gateway, which stays on this machine and is only yours to read. Once somebody has approved the code",
    '("agentbus device approve CODE" on the gateway\'s machine), chat, watch, call and status need no token for it.',
    "What --fingerprint or --ca say of its certificate is remembered with the key.",
    "On a terminal the QR code holds the gateway's address with the code: no secret. With --json every step is a line.",
    "Exit codes: 0 paired, 1 nobody approved in time, 3 cannot reach the gateway, 4 refused.",
  ].join("\n"),
  args: [0, 0],
  options: {
    name: { value: "NAME", summary: "what the gateway lists it as; default: this machine's name" },
    scopes: { value: "A,B", summary: `asks for no more than some of ${SCOPES.join(", ")}` },
    json: { summary: "as JSON" },
    ...GATEWAY_OPTIONS,
  },
  run: async (input, io) => {
    const gateway = findGateway(input, io);
    const { url, trust } = gateway;
    const known = await resolveTrust(trust, url);
    const scopes = scopesFrom(input.text("scopes") ?? "");
    let asked = false;
    const onPairing = (pairing: Pairing): void => {
      asked = true;
      tellCode(pairing, url, input, io);
    };
    const key = await openDeviceKey(url, io);
    const device = await credentialOf(key, { onPairing, ...(scopes.length > 0 && { scopes }) });
    const client = createClient({
      url,
      device,
      client_name: input.text("name") ?? hostname(),
      version: VERSION,
      platform: "cli",
      // The errors of its socket say what is in the way, and whoever waits ends it with Ctrl-C.
      transport: "websocket",
      max_reconnect_attempts: 0,
      WebSocket: trustingSocket(known),
    });
    tellAbsence(client, io);
    try {
      const hello = await connect(client, { ...gateway, token: null, device: key });
      if (isSecure(url) && (trust.fingerprint ?? trust.ca) !== undefined) rememberTrust(url, io, known);
      tellPaired(hello, device.device_id, { asked, url, path: key.path }, input, io);
      return EXIT.ok;
    } finally {
      client.disconnect();
    }
  },
};

export const deviceKey: Command = {
  name: "device key",
  summary: "this machine's public key for a gateway, for an administrator to register",
  usage: "",
  details:
    "Makes the key where there is none. The public key is no secret; the private one never leaves this machine.",
  args: [0, 0],
  options: { json: { summary: "as JSON" }, ...GATEWAY_OPTIONS },
  run: async (input, io) => {
    const { url } = findGateway(input, io);
    const key = await openDeviceKey(url, io);
    const { device_id, public_key } = await credentialOf(key);
    if (input.on("json")) outJson(io, { url: gatewayOrigin(url), device_id, public_key, file: key.path });
    else io.out(public_key);
    return EXIT.ok;
  },
};

/** @throws ClientError, CommandError where nobody approved in time */
async function connect(client: Client, target: Target): Promise<Hello> {
  try {
    return await client.connect();
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    const expired = error.details["kind"] === "pairing_expired";
    throw expired ? new CommandError(error.message) : withAdvice(error, target);
  }
}

function tellCode({ code, expires_at, expires_in_ms }: Pairing, url: string, input: Input, io: Io): void {
  if (input.on("json")) return outJson(io, { state: "waiting", url: gatewayOrigin(url), code, expires_at });
  const minutes = Math.max(1, Math.round(expires_in_ms / 60_000));
  io.out(`${gatewayOrigin(url)} asks for an approval of this machine within ${minutes} min\n`);
  io.out(`  code  ${visible(code)}\n`);
  // A page opened with it may fill in the code; what follows the # stays in the browser.
  if (io.tty)
    for (const line of qrLines(io, `${gatewayOrigin(url)}/#pair=${encodeURIComponent(code)}`)) io.out(line);
  io.out(`approve it there: agentbus device approve ${visible(code)}`);
  io.out(dim(io, "waiting; Ctrl-C leaves, and the code stays good until then"));
  return undefined;
}

/** A gateway that goes away meanwhile is waited for. */
function tellAbsence(client: Client, io: Io): void {
  let away = false;
  client.on("state", ({ state, error }) => {
    if (state !== "connecting" || error === undefined) return;
    const lost = error.code === "UNREACHABLE";
    if (lost && !away) io.err(dim(io, `${error.message}; trying again`));
    away = lost;
  });
}

function tellPaired(
  { auth_info: { user, scopes } }: Hello,
  device_id: string,
  { asked, url, path }: { asked: boolean; url: string; path: string },
  input: Input,
  io: Io,
): void {
  if (input.on("json"))
    return outJson(io, { state: "paired", url: gatewayOrigin(url), device_id, user, scopes, file: path });
  io.out(`${asked ? "paired" : "this machine is paired already"}: device ${device_id}`);
  io.out(`  user    ${user}`);
  io.out(`  scopes  ${scopes.join(" ")}`);
  io.out(dim(io, `  key     ${path}`));
  return undefined;
}
