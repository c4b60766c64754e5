import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { readOpening } from "../../src/cli/running.ts";
import { systemdUnit } from "../../src/cli/systemd-unit.ts";
import { SCHEMA_VERSION } from "../../src/store/sqlite/schema.ts";
import { makeOld } from "../adapter/store.old.ts";
import { eventually } from "../gateway/stack.ts";
import { AGENTBUS, agentbus, plainEnvironment, workplace } from "../support/executable.ts";
import { canShim, compileFsyncShim } from "../support/fsync-shim.ts";
import type { LogLine } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import { listenForNotices } from "../support/notify-listener.ts";

const HAS_SYSTEMD = needs("systemd-analyze", "systemd");
const HAS_PYTHON = needs("python3", "python3");

const print = async (...argv: readonly string[]): Promise<string> => {
  using place = workplace();
  const { code, out, err } = await agentbus(["service", "print", ...argv], {
    cwd: place.path,
    env: { HOME: "/home/a & b" },
  });
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return out;
};

describe.skipIf(!HAS_SYSTEMD)("the unit", () => {
  const analyze = (file: string, ...argv: readonly string[]) => {
    const { success, stdout, stderr } = Bun.spawnSync(["systemd-analyze", ...argv, file]);
    return { success, said: `${stdout.toString()}${stderr.toString()}` };
  };

  test("exposes little by the measure of systemd itself, and would expose much without what is in it", async () => {
    using place = workplace();
    const unit = await print("systemd", "--program", "/bin/true");
    const exposure = (text: string) =>
      analyze(place.file("agentbus.service", text), "security", "--offline=true", "--threshold=25").success;
    expect(exposure(unit)).toBe(true);
    expect(exposure(unit.replace(/^(?:Protect|Private|Restrict|SystemCall).*$/gm, ""))).toBe(false);
  });

  test.each(["systemd", "systemd-user"])(
    "of %s has nothing in it that systemd does not know",
    async (kind) => {
      using place = workplace();
      const file = place.file("agentbus.service", await print(kind, "--program", "/bin/true"));
      expect(analyze(file, "verify", "--man=no")).toEqual({ success: true, said: "" });
    },
  );

  test("has the directory of the backups written, as it is called", () => {
    using place = workplace();
    const text = systemdUnit({
      program: "/bin/true",
      config: "/etc/a.toml",
      scope: "system",
      backups: "/srv/100% $mine",
    });
    expect(text).toContain('ReadWritePaths="-/srv/100%% $mine"\n');
    expect(analyze(place.file("agentbus.service", text), "verify", "--man=no")).toEqual({
      success: true,
      said: "",
    });
  });

  test("names files as they are, whatever is in their names", async () => {
    const unit = await print("systemd", "--program", "/opt/100% mine/agentbus", "--config", "/etc/a$b.toml");
    expect(unit).toContain('ExecStart="/opt/100%% mine/agentbus" serve --config /etc/a$$b.toml\n');
  });
});

test.skipIf(!HAS_PYTHON)("the property list says what launchd is to do", async () => {
  using place = workplace();
  const file = place.file("agentbus.plist", await print("launchd", "--program", "/opt/a & <b>/agentbus"));
  const read = "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
  const { stdout, stderr } = Bun.spawnSync(["python3", "-c", read, file]);
  expect(stderr.toString()).toBe("");
  expect(JSON.parse(stdout.toString())).toEqual({
    Label: "agentbus.gateway",
    ProgramArguments: [
      "/opt/a & <b>/agentbus",
      "serve",
      "--config",
      "/home/a & b/.config/agentbus/agentbus.toml",
    ],
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    ThrottleInterval: 5,
    ExitTimeOut: 90,
    Umask: 0o77,
    SoftResourceLimits: { NumberOfFiles: 8_192, Core: 0 },
    StandardOutPath: "/home/a & b/Library/Logs/agentbus.log",
    StandardErrorPath: "/home/a & b/Library/Logs/agentbus.log",
  });
});

// Elsewhere it would install one.
if (process.platform === "linux" && !existsSync("/run/systemd/system")) {
  test("where systemd does not run it says what to do", async () => {
    using place = workplace();
    const { code, err } = await agentbus(["service", "install"], { cwd: place.path });
    expect([code, err]).toEqual([1, expect.stringMatching(/agentbus service print|install -m 0755/)]);
  });
}

test.skipIf(process.platform !== "linux")("a service manager is told by a real gateway", async () => {
  using manager = listenForNotices("abstract");
  const env = { NOTIFY_SOCKET: manager.address, WATCHDOG_USEC: "300000" };
  const gateway = await startGateway({ env, config: { server: { shutdown_grace_secs: 7 } } });
  expect(await manager.until("READY=1")).toBe(`READY=1\nSTATUS=listening on ${gateway.url}`);
  await manager.until("WATCHDOG=1");
  // Nothing comes from one that stands still.
  process.kill(gateway.pid, "SIGSTOP");
  const before = manager.read().length;
  await Bun.sleep(400);
  expect(manager.read().length - before).toBeLessThanOrEqual(1);
  process.kill(gateway.pid, "SIGCONT");
  await eventually(
    () => manager.read().length,
    (count) => count > before + 1,
  );
  gateway.kill("SIGTERM");
  expect(await gateway.exited).toBe(0);
  expect(manager.read().filter((each) => !each.startsWith("WATCHDOG"))).toEqual([
    "STATUS=opening the database\nEXTEND_TIMEOUT_USEC=600000000",
    `READY=1\nSTATUS=listening on ${gateway.url}`,
    "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=67000000",
  ]);
  await gateway[Symbol.asyncDispose]();
});

/** Of an older version, on a disk that takes its time for the copy before it is brought up to date. */
function slowToOpen(place: string) {
  const data_dir = join(place, "data");
  const shim = compileFsyncShim(place, "agentbus.db.schema-");
  mkdirSync(data_dir);
  makeOld(data_dir, SCHEMA_VERSION - 1);
  shim.delay(60_000);
  return { data_dir, shim };
}

/** Another process, which would take the place of the one that opens the database. */
async function stopWhileWaiting(data_dir: string): Promise<void> {
  const argv = [...AGENTBUS, "serve", "--takeover", "--port", "0", "--data-dir", data_dir];
  const next = Bun.spawn(argv, { cwd: data_dir, env: plainEnvironment(), stdin: "ignore", stdout: "pipe" });
  let said = "";
  for await (const bytes of next.stdout) {
    said += new TextDecoder().decode(bytes);
    if (said.includes("waiting for it")) next.kill("SIGTERM");
  }
  expect([await next.exited, said]).toEqual([0, expect.stringContaining("before the database was open")]);
}

test.skipIf(!canShim() || Bun.env["AGENTBUS_TEST_STORE"] === "postgres")(
  "while the database takes long to open that is said, and a signal ends it at once and loses nothing",
  async () => {
    using place = workplace();
    using manager = listenForNotices("path");
    const { data_dir, shim } = slowToOpen(place.path);
    const copying = `copying the database, which has schema ${SCHEMA_VERSION - 1}, before it is brought to schema ${SCHEMA_VERSION}`;
    const lines: LogLine[] = [];
    const starts = startGateway({
      data_dir,
      env: { ...shim.env, NOTIFY_SOCKET: manager.address },
      heard: (line) => void lines.push(line),
    });
    const failed = starts.then(String, String);
    expect(await manager.until("STATUS=copying")).toBe(`STATUS=${copying}\nEXTEND_TIMEOUT_USEC=600000000`);
    const opens = readOpening(data_dir);
    expect(opens).toMatchObject({ doing: copying });
    const logged = await eventually(
      () => lines.at(-1),
      (line) => line?.msg === copying,
    );
    expect(logged).toMatchObject({ component: "store", bytes: expect.any(Number) });
    await stopWhileWaiting(data_dir);
    expect(readOpening(data_dir)).toEqual(opens);
    const began = performance.now();
    process.kill(opens?.pid ?? 0, "SIGTERM");
    expect(await failed).toContain("the gateway ended with 0 before it listened");
    // The copy alone takes three times as long.
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(lines.at(-1)?.msg).toContain("stopped before the database was open");
    expect(manager.read().some((each) => each.startsWith("READY"))).toBe(false);
    expect(readOpening(data_dir)).toBeNull();
    shim.delay(0);
    await using gateway = await startGateway({ data_dir });
    const upgraded = gateway.log.find(({ msg }) => msg.startsWith("the database was brought up to date"));
    expect(upgraded).toMatchObject({ from: SCHEMA_VERSION - 1 });
    expect(readdirSync(data_dir).filter((name) => /part|opening/.test(name))).toEqual([]);
  },
  60_000,
);
