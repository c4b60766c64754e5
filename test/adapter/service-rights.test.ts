import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { checkBackups } from "../../src/cli/doctor-backup.ts";
import { checkPorts } from "../../src/cli/doctor-gateway.ts";
import { checkRights, obstacleOf } from "../../src/cli/doctor-rights.ts";
import { checkDataDir } from "../../src/cli/doctor-storage.ts";
import type { ServiceUser } from "../../src/cli/service-user.ts";
import { loadConfig } from "../../src/config.ts";
import { workplace } from "../support/executable.ts";

const UID = 4_321;
const USER: ServiceUser = {
  name: "agentbus",
  uid: UID,
  gids: [UID],
  hidden: [],
  shown: [],
  made: [],
  writable: null,
  least_port: 1_024,
};
const isRoot = process.geteuid?.() === 0;
if (!isRoot) console.log("skipped: needs root, sudo");

let place: ReturnType<typeof workplace>;
let data_dir: string;
beforeEach(() => {
  place = workplace();
  chmodSync(place.path, 0o755);
  data_dir = join(place.path, "data");
  mkdirSync(data_dir, { mode: 0o700 });
  if (isRoot) chownSync(data_dir, UID, UID);
});
afterEach(() => place[Symbol.dispose]());

function file(name: string, mode: number, [uid, gid] = [0, 0]): string {
  const path = place.file(name, "x");
  chownSync(path, uid, gid);
  chmodSync(path, mode);
  return path;
}

describe.skipIf(!isRoot)("what root can and the user of the service cannot", () => {
  test("goes by the owner, the group or others, whichever it is to the file", () => {
    const may = (mode: number, owner: [number, number], need: "read" | "write" = "read"): boolean =>
      obstacleOf(file("a", mode, owner), need, USER) === null;
    expect(may(0o600, [UID, 0])).toBe(true);
    expect(may(0o040, [0, UID])).toBe(true);
    expect(may(0o604, [0, 0])).toBe(true);
    expect(may(0o600, [0, 0])).toBe(false);
    expect(may(0o004, [UID, 0])).toBe(false);
    expect(may(0o604, [0, UID])).toBe(false);
    expect(may(0o640, [0, UID], "write")).toBe(false);
    expect(may(0o660, [0, UID], "write")).toBe(true);
  });

  test("a directory above it, of a link too, is in the way", () => {
    const key = file("archive/key.pem", 0o644);
    const link = join(place.path, "live.pem");
    symlinkSync(key, link);
    expect(obstacleOf(link, "read", USER)).toBeNull();
    const archive = join(place.path, "archive");
    chmodSync(archive, 0o700);
    expect(obstacleOf(link, "read", USER)).toEqual({
      why: `${archive} is of 0:0 with mode 0700`,
      advice: `chgrp ${UID} '${archive}' && chmod g+x '${archive}'`,
    });
    // One that is for a group already stays that group's.
    chownSync(archive, 0, UID + 1);
    chmodSync(archive, 0o710);
    expect(obstacleOf(link, "read", USER)?.advice).toContain(`SupplementaryGroups=${UID + 1} `);
  });

  test("its sandbox is in the way of what its bits allow", () => {
    const path = file("a", 0o666);
    const sandboxed = { ...USER, hidden: [place.path], writable: [data_dir] };
    expect(obstacleOf(path, "read", sandboxed)?.advice).toContain(`BindReadOnlyPaths=${path}`);
    const shown = { ...sandboxed, shown: [path] };
    expect(obstacleOf(path, "read", shown)).toBeNull();
    expect(obstacleOf(path, "write", shown)?.advice).toContain(`ReadWritePaths=${path}`);
    expect(obstacleOf(data_dir, "write", { ...USER, writable: [data_dir] })).toBeNull();
  });

  test("is told of the configuration, its secrets, certificate, backups and data", () => {
    for (const name of ["token", "cert.pem", "data/agentbus.db"]) file(name, 0o600);
    file("key.pem", 0o640, [0, UID]);
    mkdirSync(join(place.path, "backups"));
    const toml = `[server]\ndata_dir = "data"\n[server.tls]\ncert = "cert.pem"\nkey = "key.pem"\n[auth]\ntoken_file = "token"\n[backup]\ndirectory = "backups"\n`;
    const config = place.file("agentbus.toml", toml);
    chmodSync(config, 0o600);
    const loaded = loadConfig({ file: config, env: {}, cwd: place.path });
    const of = () =>
      checkRights(loaded, USER).map(({ finding }) => finding.slice(0, finding.indexOf(" cannot")));
    expect(of()).toEqual([
      `the configuration, ${config},`,
      `a file of a secret, ${join(place.path, "token")},`,
      `server.tls.cert, ${join(place.path, "cert.pem")},`,
      `backup.directory, ${join(place.path, "backups")},`,
      `agentbus.db, ${join(data_dir, "agentbus.db")},`,
    ]);
    for (const name of ["agentbus.toml", "token", "cert.pem", "backups", "data/agentbus.db"])
      chownSync(join(place.path, name), UID, UID);
    expect(checkRights(loaded, USER)).toMatchObject([{ state: "ok" }]);
    // Nobody is told to give away what they led to.
    symlinkSync(file("roots", 0o600), join(data_dir, "lock.db"));
    expect(checkRights(loaded, USER)).toMatchObject([{ state: "ok" }]);
  });

  test("a data directory that is root's is none for the service, nor is one that it may not make", () => {
    expect(checkDataDir(data_dir, USER)).toMatchObject({ state: "ok" });
    chownSync(data_dir, 0, 0);
    expect(checkDataDir(data_dir)).toMatchObject({ state: "ok" });
    expect(checkDataDir(data_dir, USER)).toMatchObject({
      state: "failed",
      advice: `chown -R agentbus: '${data_dir}'`,
    });
    const missing = join(place.path, "missing");
    expect(checkDataDir(missing, USER)).toMatchObject({ state: "failed" });
    expect(checkDataDir(missing, { ...USER, made: [missing] })).toMatchObject({ state: "ok" });
  });
});

test("a port that root may take is none for the user of the service", async () => {
  const config = (port: number) =>
    loadConfig({ env: {}, cwd: place.path, flags: { "server.data_dir": data_dir, "server.port": port } })
      .config;
  expect(await checkPorts(config(443), USER)).toMatchObject([
    { state: "failed", advice: expect.stringContaining("CAP_NET_BIND_SERVICE") },
  ]);
  expect(await checkPorts(config(0), USER)).toMatchObject([{ state: "ok" }]);
});

test("that nothing is backed up is a warning where others rely on it, and a word elsewhere", () => {
  const { config } = loadConfig({ env: {}, cwd: place.path, flags: { "server.data_dir": data_dir } });
  expect(checkBackups(config, true)).toMatchObject([{ state: "warning" }]);
  expect(checkBackups(config, false)).toMatchObject([{ state: "ok" }]);
});
