import { BlockList, isIP } from "node:net";
import { RoleName } from "../protocol/api/auth.ts";
import { User, validator } from "../protocol/schema.ts";
import { ConfigError } from "./error.ts";
import type { Config } from "./schema.ts";

/** The login that tailscaled gives for machines that belong to nobody. */
const TAGGED = "tagged-devices";
/** Where the addresses of tailnets are. */
const NETWORKS = { 4: ["100.64.0.0", 10], 6: ["fd7a:115c:a1e0::", 48] } as const;

/** Whether peers of the tailnet come in. */
export function acceptsTailscale({ mode, modes, allow_tailscale }: Config["auth"]): boolean {
  if (mode === "none") return false;
  return allow_tailscale || mode === "tailscale" || (mode === "multi" && modes.includes("tailscale"));
}

/** The rules of `[auth.tailscale]`. Returns warnings. @throws ConfigError */
export function checkTailscale({ auth, server }: Config, where: (path: string) => string): string[] {
  const users = where("auth.tailscale.users");
  const logins = Object.entries(auth.tailscale.users);
  for (const [login, grant] of logins) checkLogin(login, grant, users);
  if (auth.allow_tailscale && auth.mode === "none") {
    return [`${where("auth.allow_tailscale")}: not used, because auth.mode "none" lets everybody in`];
  }
  const wanted = acceptsTailscale(auth);
  if (wanted && logins.length === 0) {
    return [
      `${users}: it is empty, so no login of the tailnet comes in: add "ada@example.com" = { user = "ada", role = "user" }`,
    ];
  }
  if (wanted) {
    return server.trusted_proxies.filter(isMuchOfTailnet).map((proxies) => manyProxies(proxies, where));
  }
  if (logins.length === 0) return [];
  return [`${users}: not used: set auth.allow_tailscale to true, or auth.mode to "tailscale"`];
}

/** @throws ConfigError */
function checkLogin(login: string, { user, role }: Grant, users: string): void {
  const named = `${users}: "${login.slice(0, 60)}"`;
  if (login === "" || login.includes("*")) {
    throw new ConfigError(`${named} is no login: write each one whole, like "ada@example.com"`);
  }
  if (login === TAGGED) {
    throw new ConfigError(`${named} is what every tagged machine is called: list the logins of people`);
  }
  if (!isUser(user)) {
    throw new ConfigError(`${named}: "${user.slice(0, 60)}" is no user: use letters, digits and ._@+-`);
  }
  if (!validator(RoleName).Check(role)) {
    throw new ConfigError(`${named}: there is no such role: use viewer, user, operator or admin`);
  }
}

type Grant = Config["auth"]["tailscale"]["users"][string];

function isUser(text: string): boolean {
  return validator(User).Check(text);
}

/** Whether a range has more than one address of a tailnet in it. What is no range is told elsewhere. */
function isMuchOfTailnet(range: string): boolean {
  const [network = "", bits = ""] = range.trim().split("/");
  const version = isIP(network);
  const width = version === 4 ? 32 : 128;
  if (version === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) >= width) return false;
  const family = version === 4 ? "ipv4" : "ipv6";
  const [start, prefix] = NETWORKS[version as 4 | 6];
  const [tailnet, given] = [new BlockList(), new BlockList()];
  tailnet.addSubnet(start, prefix, family);
  given.addSubnet(network, Number(bits), family);
  return tailnet.check(network, family) || given.check(start, family);
}

function manyProxies(range: string, where: (path: string) => string): string {
  return (
    `${where("server.trusted_proxies")}: "${range}" is more than one machine of the tailnet, and each of them may say ` +
    "that it is anybody: name the addresses of proxies alone"
  );
}
