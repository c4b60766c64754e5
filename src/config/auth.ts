import { isLoopback } from "./address.ts";
import { ConfigError } from "./error.ts";
import type { Config } from "./schema.ts";
import { checkTailscale } from "./tailscale.ts";

/** What an error about the option at a path begins with. */
export type Where = (path: string) => string;

const TOKEN = /^[\x21-\x7e]+$/;
const SHORT_TOKEN_CHARS = 16;
/** What `connect` takes. */
const MAX_PASSWORD_CHARS = 1_024;
const SHORT_PASSWORD_CHARS = 12;
/** What `multi` can be made of. */
const MODES = ["token", "password", "device", "tailscale"];

/** `$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<hash>` */
const PHC =
  /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$/;
/** A weaker hash is guessed too fast, a stronger one lets a stranger fill the memory. */
const COST = { m: [19_456, 262_144], t: [2, 16], p: [1, 4] } as const;

/**
 * The rules of `[auth]`; `bind` is the host of the second listener. Returns warnings.
 * @throws ConfigError
 */
export function checkAuth(config: Config, bind: string | null, where: Where): string[] {
  return [
    ...checkOpen(config, bind, where),
    ...checkToken(config.auth.token, where),
    ...checkModes(config.auth, where),
    ...checkPassword(config.auth, where),
    ...checkTailscale(config, where),
  ];
}

function checkModes({ mode, modes }: Config["auth"], where: Where): string[] {
  if (mode === "multi" && modes.length === 0) {
    throw new ConfigError(
      `${where("auth.mode")}: "multi" needs a list: set auth.modes to ["token", "password"]`,
    );
  }
  for (const each of modes) {
    if (MODES.includes(each)) continue;
    throw new ConfigError(
      `${where("auth.modes")}: "${each.slice(0, 60)}" is no mode that can be one of several: use ${MODES.join(", ")}`,
    );
  }
  if (mode === "multi" || modes.length === 0) return [];
  return [`${where("auth.modes")}: not used, because auth.mode is "${mode}": set that to "multi"`];
}

function checkPassword(auth: Config["auth"], where: Where): string[] {
  const { mode, modes, password, password_hash } = auth;
  const [plain, hash] = [where("auth.password"), where("auth.password_hash")];
  if (password !== "" && password_hash !== "") {
    throw new ConfigError(`${hash}: ${plain} says it already; keep one of them`);
  }
  if (password_hash !== "") checkHash(password_hash, hash);
  if (password.length > MAX_PASSWORD_CHARS) {
    throw new ConfigError(`${plain}: a password has ${MAX_PASSWORD_CHARS} characters at most`);
  }
  const given = password !== "" || password_hash !== "";
  const wanted = mode === "password" || (mode === "multi" && modes.includes("password"));
  if (wanted && !given) {
    throw new ConfigError(
      `${where(mode === "multi" ? "auth.modes" : "auth.mode")}: "password" needs one: ` +
        'run "agentbus password" and set auth.password_hash, or set auth.password',
    );
  }
  if (given && !wanted) {
    const path = password === "" ? hash : plain;
    return [`${path}: not used, because auth.mode is "${mode}": set that to "password"`];
  }
  if (password === "" || password.length >= SHORT_PASSWORD_CHARS) return [];
  return [
    `${plain}: a password of ${password.length} characters can be guessed: use ${SHORT_PASSWORD_CHARS} or more`,
  ];
}

function checkHash(hash: string, where: string): void {
  const [, m, t, p] = PHC.exec(hash) ?? [];
  const cost = { m: Number(m), t: Number(t), p: Number(p) };
  for (const key of ["m", "t", "p"] as const) {
    const [least, most] = COST[key];
    if (cost[key] >= least && cost[key] <= most) continue;
    const what = Number.isNaN(cost[key])
      ? "it must be an argon2id hash, like $argon2id$v=19$m=19456,t=2,p=1$…"
      : `${key}=${cost[key]} is not between ${least} and ${most}`;
    throw new ConfigError(`${where}: ${what}: "agentbus password" makes one`);
  }
}

/** Without credentials only this machine may reach the gateway. */
function checkOpen({ auth, server }: Config, bind: string | null, where: Where): string[] {
  if (auth.mode !== "none") return [];
  for (const [path, host] of [
    ["server.host", server.host],
    ["gateway.bind", bind],
  ] as const) {
    if (host === null || isLoopback(host)) continue;
    throw new ConfigError(
      `${where("auth.mode")}: "none" lets everybody in, and ${path} "${host}" is not only this machine: ` +
        `set auth.mode to "token", or ${path} to an address like 127.0.0.1`,
    );
  }
  return [`${where("auth.mode")}: "none": everybody on this machine may do everything`];
}

function checkToken(token: string, where: Where): string[] {
  if (token === "") return [];
  if (!TOKEN.test(token)) {
    throw new ConfigError(
      `${where("auth.token")}: a token is visible ASCII characters without spaces: choose another`,
    );
  }
  if (token.length >= SHORT_TOKEN_CHARS) return [];
  return [
    `${where("auth.token")}: a token of ${token.length} characters can be guessed: use ${SHORT_TOKEN_CHARS} or more`,
  ];
}
