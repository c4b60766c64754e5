import type { Client } from "../client/client.ts";
import { createClient } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import type { ClientOptions } from "../client/options.ts";
import type { Input, OptionSpecs } from "./args.ts";
import { VERSION } from "../build.ts";
import { CONFIG_OPTIONS, readConfig } from "./configuration.ts";
import type { Config } from "./configuration.ts";
import type { DeviceKey } from "./device-key.ts";
import { credentialOf, readDeviceKey } from "./device-key.ts";
import { CommandError, UsageError } from "./exit.ts";
import { gatewayOrigin } from "./gateway-file.ts";
import type { Io } from "./io.ts";
import { readLocalConfig } from "./local-config.ts";
import { rememberedTrust } from "./remembered-trust.ts";
import { isHeld, readOpening, readRunning, readText, readWritten } from "./running.ts";
import type { Shown, Trust } from "./trust.ts";
import { TRUST_OPTIONS, isSecure, resolveTrust, trustFor, trustingFetch, trustingSocket } from "./trust.ts";

const URL_OPTION: OptionSpecs = {
  url: { value: "URL", summary: "the gateway; else AGENTBUS_URL, else the local one" },
};

/** Flags that say which gateway is meant. */
export const GATEWAY_OPTIONS: OptionSpecs = { ...URL_OPTION, ...TRUST_OPTIONS, ...CONFIG_OPTIONS };

/** Flags of every command that talks to a gateway. */
export const TARGET_OPTIONS: OptionSpecs = {
  ...URL_OPTION,
  "token-file": {
    value: "FILE",
    summary: "a file with the token; else AGENTBUS_TOKEN, the local gateway's own, or this machine's pairing",
  },
  ...TRUST_OPTIONS,
  ...CONFIG_OPTIONS,
};

/** A gateway and the way in. */
export interface Target {
  readonly url: string;
  readonly token: string | null;
  /** The key this machine has for that gateway, where there is no token. */
  readonly device: DeviceKey | null;
  readonly trust: Trust;
  /** The configuration of the gateway on this machine; null where the target was named by its URL. */
  readonly config: Config | null;
  /** It is the service of the machine. */
  readonly isService: boolean;
}

/** The gateway a command means. A local gateway's own token is never sent anywhere else. */
export function findTarget(input: Input, io: Io): Target {
  const { url, config, trust, isService } = findGateway(input, io);
  const given = givenToken(input, io);
  const token = given ?? (config === null ? tokenIfLocal(url, input, io) : localToken(config));
  return { url, config, trust, isService, token, device: token === null ? readDeviceKey(url, io) : null };
}

/** Where the gateway is that a command means, and how it is known. */
export function findGateway(input: Input, io: Io): Pick<Target, "url" | "config" | "trust" | "isService"> {
  const named = input.text("url") ?? (io.env["AGENTBUS_URL"] || undefined);
  if (named === undefined) {
    const { config, isService } = readLocalConfig(input, io);
    const trust = trustFor(input, io, () => localTrust(config));
    return { url: localUrl(config), config, trust, isService };
  }
  if (!/^(?:https?|wss?):\/\//i.test(named) || !URL.canParse(named))
    throw new UsageError(`"${named}" is no URL: write it like http://127.0.0.1:18789`);
  const trust = trustFor(input, io, () => knownTrust(named, input, io));
  if (!isSecure(named) && (trust.ca ?? trust.fingerprint) !== undefined)
    throw new UsageError(
      `${named} shows no certificate: write https://, or leave --ca and --fingerprint out`,
    );
  return { url: named, config: null, trust, isService: false };
}

/** The gateway of a configuration, with its own token and certificate. */
export function localTarget(config: Config): Target {
  return {
    url: localUrl(config),
    token: localToken(config),
    device: null,
    trust: localTrust(config),
    config,
    isService: false,
  };
}

export interface ConnectOptions extends Partial<ClientOptions> {
  /** Told of the certificate at every handshake. */
  readonly shown?: (certificate: Shown) => void;
  /** Told of every request beside the socket. */
  readonly asked?: (answer: Promise<Response>) => void;
}

/** A local gateway that begins, or takes the place of another, listens within so long; what takes longer is said. */
const STARTING_MS = 5_000;
const AGAIN_MS = 100;

/** A client of the target; connects. @throws ClientError, CommandError */
export async function connectTo(target: Target, options: ConnectOptions = {}): Promise<Client> {
  const { config } = target;
  for (const until = performance.now() + STARTING_MS; ;) {
    try {
      return await connectOnce(config === null ? target : asItIsNow(target, config), options);
    } catch (error) {
      const nobody = error instanceof ClientError && error.code === "UNREACHABLE";
      const starts = nobody && config !== null && isHeld(config.server.data_dir);
      if (!starts || performance.now() > until) throw error;
      await Bun.sleep(AGAIN_MS);
    }
  }
}

/** Where it listens, and its token, may be known only once it does. */
function asItIsNow(target: Target, config: Config): Target {
  const token = target.token ?? localToken(config);
  return { ...target, url: localUrl(config), token, device: token === null ? target.device : null };
}

async function connectOnce(target: Target, options: ConnectOptions): Promise<Client> {
  const { shown = () => undefined, asked = () => undefined, ...more } = options;
  const trust = await resolveTrust(target.trust, target.url);
  const client = createClient({
    url: target.url,
    client_name: "agentbus command line",
    version: VERSION,
    platform: "cli",
    // The errors of its socket say what is in the way, and whoever waits ends it with Ctrl-C.
    transport: "websocket",
    max_reconnect_attempts: 0,
    ...(target.token !== null && { auth_token: target.token }),
    ...(target.device !== null && { device: await credentialOf(target.device) }),
    WebSocket: trustingSocket(trust, shown),
    fetch: trustingFetch(trust, asked),
    ...more,
  });
  try {
    await client.connect();
  } catch (error) {
    throw error instanceof ClientError ? withAdvice(error, target) : error;
  }
  return client;
}

/** The same error with the way out, where there is one. */
export function withAdvice(error: ClientError, target: Target): ClientError {
  const { code, message, details, retryable, retry_after_ms } = error;
  return new ClientError(code, message + adviceFor(error, target), { details, retryable, retry_after_ms });
}

function adviceFor({ code, message, details }: ClientError, target: Target): string {
  const { url, token, device, config, isService } = target;
  const secure = isSecure(url);
  if (code === "UNREACHABLE" && secure && message.includes("certificate has expired"))
    return "; renew it: the gateway takes new files in the place of the old ones without a restart";
  if (code === "UNREACHABLE" && secure && message.includes("TLS handshake failed")) {
    return "; say how it is known, with --fingerprint or --ca (and --client-cert where it asks for one)";
  }
  if (code === "UNREACHABLE" && !secure && message.includes("Connection ended"))
    return "; if it speaks TLS, write https://";
  const opens = code === "UNREACHABLE" && config !== null ? readOpening(config.server.data_dir) : null;
  if (opens !== null) return `; process ${opens.pid} is ${opens.doing}, and listens as soon as that is done`;
  if (code === "UNREACHABLE" && config !== null)
    return `; start it with "${isService ? "systemctl start agentbus" : "agentbus serve"}", or say where it is with --url`;
  if (code !== "UNAUTHORIZED" || token !== null) return "";
  const pair = `agentbus device pair${config === null ? ` --url ${url}` : ""}`;
  if (device !== null) return details["kind"] === "pairing" ? `; "${pair}" waits for that` : "";
  return `; no token was found: give one with --token-file or AGENTBUS_TOKEN, or pair this machine with "${pair}"`;
}

function givenToken(input: Input, io: Io): string | null {
  const file = input.text("token-file");
  if (file !== undefined) {
    const token = readText(file)?.trim();
    if (token === undefined) throw new CommandError(`there is no token file ${file}`);
    if (token === "") throw new CommandError(`the token file ${file} is empty`);
    return token;
  }
  return io.env["AGENTBUS_TOKEN"] || null;
}

function tokenIfLocal(url: string, input: Input, io: Io): string | null {
  const { config } = readConfig(input, io);
  return gatewayOrigin(url) === gatewayOrigin(localUrl(config)) ? localToken(config) : null;
}

/** A local gateway is known by what it wrote down when it began to listen, whatever is in its certificate. */
function localTrust(config: Config): Trust {
  return { certificate: () => readRunning(config.server.data_dir)?.certificate ?? null };
}

function knownTrust(url: string, input: Input, io: Io): Trust {
  if (!isSecure(url)) return {};
  const { config } = readConfig(input, io);
  const local = gatewayOrigin(url) === gatewayOrigin(localUrl(config));
  // Where none of ours runs, it is somebody else's gateway that is reached under that address.
  return local && readRunning(config.server.data_dir) !== null
    ? localTrust(config)
    : rememberedTrust(url, io);
}

/** Where the gateway of this configuration listens: what it wrote down while it runs, else what is configured. */
export function localUrl(config: Config): string {
  const running = readRunning(config.server.data_dir);
  if (running !== null) return running.url;
  const { host, port, tls } = config.server;
  return `${tls.mode === "auto" || tls.cert !== "" ? "https" : "http"}://${reachable(host)}:${port}`;
}

function localToken(config: Config): string | null {
  return readWritten(config.server.data_dir, "token")?.trim() || null;
}

/** An address to connect to where the configured one means every interface. */
function reachable(host: string): string {
  if (host === "" || host === "0.0.0.0" || host === "localhost") return "127.0.0.1";
  if (host === "::" || host === "[::]") return "[::1]";
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}
