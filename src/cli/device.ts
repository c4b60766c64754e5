import type { ResultFor } from "../client/methods.ts";
import { scopesOf } from "../access.ts";
import { administer, askGateway } from "./administer.ts";
import type { Command, OptionSpecs } from "./args.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import type { Grant } from "./grant.ts";
import { GRANT_OPTIONS, grantOf } from "./grant.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { moment, table, visible } from "./table.ts";
import type { Target } from "./target.ts";
import { TARGET_OPTIONS, findTarget } from "./target.ts";

type Device = ResultFor<"device.list">["devices"][number];
type PairingRequest = ResultFor<"device.list">["pairing_requests"][number];

const OPTIONS: OptionSpecs = { json: { summary: "as JSON" }, ...TARGET_OPTIONS };
const NAME: OptionSpecs = { name: { value: "NAME", summary: "what it is listed as" } };
const DETAILS = "Works on the running gateway; with none running on the store itself.";

/** What who looks after a gateway does with the devices of others. */
export const deviceCommands: readonly Command[] = [
  {
    name: "device list",
    summary: "the devices, and those that ask to be let in",
    usage: "",
    details: DETAILS,
    args: [0, 0],
    options: OPTIONS,
    run: async (input, io) => {
      const answer = await administer(input, io, "device.list", {});
      if (input.on("json")) outJson(io, answer);
      else for (const line of describe(answer)) io.out(line);
      return EXIT.ok;
    },
  },
  {
    name: "device approve",
    summary: "let the device in that shows this code",
    usage: "CODE",
    details: [
      "Compare the code with the one the device shows: whoever it belongs to gets what is granted here. Without --role and",
      "--scopes that is what the device asks for, as far as the role user has it; if it asks for nothing, that role.",
    ].join("\n"),
    args: [1, 1],
    options: { ...GRANT_OPTIONS, ...NAME, ...OPTIONS },
    run: async (input, io) => {
      const target = findTarget(input, io);
      const code = input.args[0] ?? "";
      const given = grantOf(input);
      const grant = (given.role ?? given.scopes) ? given : { ...given, ...(await proposal(target, code)) };
      const params = { code, ...grant, ...nameOf(input.text("name")) };
      // Requests are in the memory of the gateway that runs: there is nothing to approve without one.
      const device = await askGateway(target, "device.approve", params);
      if (input.on("json")) outJson(io, device);
      else tell("approved", device, io);
      return EXIT.ok;
    },
  },
  {
    name: "device reject",
    summary: "refuse the device that shows this code",
    usage: "CODE",
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const answer = await askGateway(findTarget(input, io), "device.reject", {
        code: input.args[0] ?? "",
      });
      if (input.on("json")) outJson(io, answer);
      else io.out("rejected");
      return EXIT.ok;
    },
  },
  {
    name: "device revoke",
    summary: "end a device and every connection that used it",
    usage: "DEVICE_ID",
    details: DETAILS,
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const { revoked } = await administer(input, io, "device.revoke", { device_id: input.args[0] ?? "" });
      if (input.on("json")) outJson(io, { revoked });
      else if (revoked) io.out("revoked");
      // Said as a failure: with a slip in its id the device that was meant still comes in.
      else io.err("agentbus: no device has this id: agentbus device list names those there are");
      return revoked ? EXIT.ok : EXIT.failed;
    },
  },
  {
    name: "device rename",
    summary: "give a device another name",
    usage: "DEVICE_ID NAME",
    details: DETAILS,
    args: [2, 2],
    options: OPTIONS,
    run: async (input, io) => {
      const [device_id = "", name = ""] = input.args;
      const device = await administer(input, io, "device.rename", { device_id, name });
      if (input.on("json")) outJson(io, device);
      else tell("renamed", device, io);
      return EXIT.ok;
    },
  },
  {
    name: "device register",
    summary: "let a device in by its public key, without pairing",
    usage: "PUBLIC_KEY",
    details: [`"agentbus device key" on that machine tells its key. ${DETAILS}`].join("\n"),
    args: [1, 1],
    options: {
      ...GRANT_OPTIONS,
      user: { value: "USER", summary: "whose data it reaches" },
      ...NAME,
      id: { value: "ID", summary: "an id of your choice; default: made of the key" },
      ...OPTIONS,
    },
    run: async (input, io) => {
      const device_id = input.text("id");
      const { user, ...grant } = grantOf(input);
      if (user === undefined)
        throw new UsageError("device register needs --user: whose data the device reaches");
      const params = {
        public_key: input.args[0] ?? "",
        ...(device_id !== undefined && { device_id }),
        user,
        scopes: scopesOf(grant),
        ...nameOf(input.text("name")),
      };
      const device = await administer(input, io, "device.register", params);
      if (input.on("json")) outJson(io, device);
      else tell("registered", device, io);
      return EXIT.ok;
    },
  },
];

/** What is granted to a device where nobody said: never more than the role user, whatever it asks for. @throws CommandError */
async function proposal(target: Target, code: string): Promise<Pick<Grant, "role" | "scopes">> {
  const { pairing_requests } = await askGateway(target, "device.list", {});
  const request = pairing_requests.find((each) => plain(each.code) === plain(code));
  // A code nobody shows is told by the gateway.
  if (request === undefined || request.scopes.length === 0) return { role: "user" };
  const usual = scopesOf({ role: "user" });
  const scopes = usual.filter((scope) => request.scopes.includes(scope));
  if (scopes.length === request.scopes.length) return { scopes };
  const asks = visible(request.scopes.join(","));
  throw new CommandError(
    `the device asks for ${asks}: grant that with --scopes ${asks}, or less with --role or --scopes`,
  );
}

/** Case, spaces and hyphens of a code do not count. */
function plain(code: string): string {
  return code.toUpperCase().replaceAll(/[\s-]/g, "");
}

function nameOf(name: string | undefined): { name?: string } {
  return name === undefined ? {} : { name };
}

function tell(what: string, { device_id, name, user, scopes }: Device, io: Io): void {
  io.out(`${what}: ${visible(name)}, user ${user}, ${scopes.join(" ")}`);
  io.out(`  ${device_id}`);
}

function describe({ devices, pairing_requests }: ResultFor<"device.list">): string[] {
  const lines = table(["id", "name", "user", "last used", "scopes"], devices.map(deviceRow));
  if (pairing_requests.length === 0) return lines;
  const asking = table(
    ["code", "name", "from", "asked", "expires", "asks for"],
    pairing_requests.map(requestRow),
  );
  return [...lines, "", "asking to be let in (agentbus device approve CODE):", ...asking];
}

function deviceRow({ device_id, name, user, last_used_at, scopes }: Device): string[] {
  return [device_id, name, user, moment(last_used_at), scopes.join(" ")];
}

function requestRow({ code, client_name, remote, created_at, expires_at, scopes }: PairingRequest): string[] {
  const asks = scopes.length === 0 ? "whatever is granted" : scopes.join(" ");
  return [code, client_name, remote, moment(created_at), moment(expires_at), asks];
}
