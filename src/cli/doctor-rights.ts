import { existsSync, realpathSync, statSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";
import type { LocalConfig } from "./local-config.ts";
import type { ServiceUser } from "./service-user.ts";

type Need = "read" | "write";

/** What keeps somebody from something, and the way out. */
export interface Obstacle {
  readonly why: string;
  readonly advice: string;
  /** It is its own rights, and nothing around it. */
  readonly isItself?: true;
}

const CHECK = "rights";
const [READ, WRITE, ENTER] = [4, 2, 1];
const BITS = { r: READ, x: ENTER, rx: READ | ENTER } as const;
/** What a gateway writes in its data directory, and what it only reads there. */
const DATA: Readonly<Record<string, Need>> = {
  "agentbus.db": "write",
  "agentbus.db-wal": "write",
  "agentbus.db-shm": "write",
  "lock.db": "write",
  token: "read",
  "secrets.key": "read",
  "tls/cert.pem": "read",
  "tls/key.pem": "read",
  plugins: "read",
  skills: "read",
};

interface Wanted {
  readonly what: string;
  readonly path: string;
  readonly need: Need;
}

/** Whether the user of the service can read and write what root can: each file that it cannot. */
export function checkRights(
  { config, files }: Pick<LocalConfig, "config" | "files">,
  user: ServiceUser,
): Finding[] {
  const named = files.map((path, at): Wanted => {
    return { what: at === 0 ? "the configuration" : "a file of a secret", path, need: "read" };
  });
  const wanted = [...named, ...placesOf(config), ...dataOf(config.server, user)];
  const found = wanted.flatMap(({ what, path, need }): Finding[] => {
    const obstacle = path !== "" && existsSync(path) ? obstacleOf(path, need, user) : null;
    if (obstacle === null) return [];
    const cannot = need === "read" ? "read" : "written";
    const finding = `${what}, ${path}, cannot be ${cannot} by ${user.name}, as whom the service runs: ${obstacle.why}`;
    return [{ check: CHECK, state: "failed", finding, advice: obstacle.advice }];
  });
  if (found.length > 0) return found;
  const finding = `${user.name}, as whom the service runs, can read and write what it needs`;
  return [{ check: CHECK, state: "ok", finding }];
}

function placesOf({ server, cluster, backup, skills, plugins, tools }: Config): Wanted[] {
  const { cert, key, client_ca } = server.tls;
  const read: (readonly [what: string, path: string])[] = [
    ["server.tls.cert", cert],
    ["server.tls.key", key],
    ["server.tls.client_ca", client_ca],
    ["cluster.key_file", cluster.key_file],
    ["tools.workspace", tools.workspace],
    ...skills.directories.map((path) => ["skills.directories", path] as const),
    ...plugins.directories.map((path) => ["plugins.directories", path] as const),
  ];
  return [
    ...read.map(([what, path]): Wanted => ({ what, path, need: "read" })),
    { what: "backup.directory", path: backup.directory, need: "write" },
  ];
}

/**
 * Nothing where the directory itself is closed, which is told of it. Links there are its user's to make: root is not told to let
 * them have what such a one leads to.
 */
function dataOf({ data_dir }: Config["server"], user: ServiceUser): Wanted[] {
  if (!existsSync(data_dir) || obstacleOf(data_dir, "write", user) !== null) return [];
  const real = realpathSync(data_dir);
  const all = Object.entries(DATA).map(([what, need]) => ({ what, path: join(real, what), need }));
  return all.filter(({ path }) => existsSync(path) && realpathSync(path) === path);
}

/** What keeps the user of the service from a file or directory that is there; null: nothing. By its bits, and those above it. */
export function obstacleOf(path: string, need: Need, user: ServiceUser): Obstacle | null {
  const { hidden, shown, writable } = user;
  const real = realpathSync(path);
  const home = hidden.find((each) => isWithin(real, [each]));
  if (home !== undefined && !isWithin(path, shown)) {
    const advice = `move it elsewhere, such as /etc/agentbus, or add BindReadOnlyPaths=${path} (systemctl edit agentbus), then systemctl restart agentbus`;
    return { why: `the sandbox of the service hides ${home}`, advice };
  }
  if (need === "write" && writable !== null && !isWithin(real, writable)) {
    const advice = `add ReadWritePaths=${real} (systemctl edit agentbus), then systemctl restart agentbus`;
    return { why: "the sandbox of the service lets nothing be written there", advice };
  }
  const closed = [...new Set([...above(path), ...above(real)])].find((each) => !may(each, ENTER, user));
  if (closed !== undefined && !isAllowed(path, need, user))
    return { why: `${closed} is ${shownRights(closed)}`, advice: letIn(closed, "x", user) };
  const isDirectory = statSync(real).isDirectory();
  const bits = (need === "read" ? READ : READ | WRITE) | (isDirectory ? ENTER : 0);
  if (may(real, bits, user) || isAllowed(path, need, user)) return null;
  const advice =
    need === "write" ? `chown ${user.name}: '${real}'` : letIn(real, isDirectory ? "rx" : "r", user);
  return { why: `it is ${shownRights(real)}`, advice, isItself: true };
}

/** The directories a path goes through, from the root on. */
function above(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [] : [...above(parent), parent];
}

function may(path: string, bits: number, { uid, gids }: ServiceUser): boolean {
  const { mode, uid: owner, gid } = statSync(path);
  const shift = owner === uid ? 6 : gids.includes(gid) ? 3 : 0;
  return ((mode >> shift) & bits) === bits;
}

/** An access list may allow what the bits do not: asked as that user, where there is what it takes. */
function isAllowed(path: string, need: Need, { uid, gids }: ServiceUser): boolean {
  if (process.geteuid?.() !== 0 || Bun.which("setpriv") === null) return false;
  const who = [`--reuid=${uid}`, `--regid=${gids[0] ?? uid}`, `--groups=${gids.join(",") || uid}`];
  return Bun.spawnSync(["setpriv", ...who, "test", need === "read" ? "-r" : "-w", path]).success;
}

function isWithin(path: string, places: readonly string[]): boolean {
  return places.some((place) => path === place || path.startsWith(`${place}${sep}`));
}

function shownRights(path: string): string {
  const { uid, gid, mode } = statSync(path);
  return `of ${uid}:${gid} with mode ${(mode & 0o7777).toString(8).padStart(4, "0")}`;
}

/** Whom a group is for already may be joined; else it becomes that of the service. */
function letIn(path: string, bits: keyof typeof BITS, { gids, uid }: ServiceUser): string {
  const { gid, mode } = statSync(path);
  if (gid !== 0 && ((mode >> 3) & BITS[bits]) === BITS[bits])
    return `add SupplementaryGroups=${gid} (systemctl edit agentbus), then systemctl restart agentbus`;
  return `chgrp ${gids[0] ?? uid} '${path}' && chmod g+${bits} '${path}'`;
}
