import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { unitIn } from "../../src/cli/upgrade-restart.ts";
import { archiveName } from "../../src/cli/release-file.ts";
import type { Outcome } from "../support/executable.ts";
import { plainEnvironment, workplace } from "../support/executable.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { BuiltRelease, Published } from "../support/release.ts";
import { wrongReleases } from "./release-wrong.ts";
import {
  RELEASE_MS,
  builtRelease,
  newKey,
  ownRelease,
  publish,
  scriptArchive,
  signAnew,
} from "../support/release.ts";

// Executables are built, tried, started and put back.
setDefaultTimeout(120_000);

/** An executable of a release, and what becomes of it when it is upgraded from a server of files. */
const TARGET = "linux-x64";
const OLD = manifest.version;
const NEXT = "7.1.0";
const able = process.platform === "linux" && process.arch === "x64";
const place = workplace();
const binary = join(place.path, "bin/agentbus");
/** Answers that are being written have no time, so that what comes after is not waited for. */
const GRACE = { AGENTBUS_SERVER_SHUTDOWN_GRACE_SECS: "1" };
let site: Published;
let own: BuiltRelease;
let next: BuiltRelease;
let original: string;

beforeAll(async () => {
  if (!able) return;
  own = await ownRelease();
  next = await builtRelease("next", { version: NEXT, targets: [TARGET], deb: false });
  const unpacked = Bun.spawnSync(["tar", "-xzf", join(own.directory, archiveName(OLD, TARGET))], {
    cwd: place.path,
  });
  expect(unpacked.success).toBe(true);
  original = join(place.path, `agentbus-${OLD}-${TARGET}/agentbus`);
  site = publish();
}, RELEASE_MS);
afterAll(() => {
  if (able) site[Symbol.dispose]();
  place[Symbol.dispose]();
});
beforeEach(() => {
  if (!able) return;
  rmSync(join(place.path, "bin"), { recursive: true, force: true });
  mkdirSync(join(place.path, "bin"));
  copyFileSync(original, binary);
  const file = archiveName(NEXT, TARGET);
  site.put(NEXT, { [file]: next.read(file) }, own.key);
});

/** `agentbus upgrade` from the server; of this gateway's configuration, where one is given. */
async function upgrade(argv: readonly string[] = [], gateway?: RunningGateway): Promise<Outcome> {
  const data_dir = gateway?.data_dir ?? join(place.path, "nobody");
  const child = Bun.spawn([binary, "upgrade", "--base-url", site.url, "--data-dir", data_dir, ...argv], {
    cwd: place.path,
    env: plainEnvironment(GRACE),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

function versionNow(): string {
  const { stdout } = Bun.spawnSync([binary, "version", "--json"]);
  return (JSON.parse(stdout.toString()) as { version: string }).version;
}

function isAsItWas(): void {
  expect(readdirSync(join(place.path, "bin"))).toEqual(["agentbus"]);
  expect(readFileSync(binary).equals(readFileSync(original))).toBe(true);
}

/** Publishes a version of a shell script that tells it, and does `serve` as its gateway. */
function publishScript(version: string, serve: string, tells = version): void {
  const run = `case $1 in version) echo '{"version":"${tells}"}' ;; *) ${serve} ;; esac`;
  site.put(version, scriptArchive(version, TARGET, run), own.key);
}

describe.skipIf(!able)("without a gateway", () => {
  test("--check says what is there, and changes nothing", async () => {
    expect(await upgrade(["--check"])).toEqual({
      code: 0,
      out: `${OLD} → ${NEXT}: agentbus upgrade\n`,
      err: "",
    });
    const { out } = await upgrade(["--check", "--json"]);
    expect(JSON.parse(out)).toEqual({ version: OLD, released: NEXT, newer: true });
    isAsItWas();
  });

  test("the newest takes its place, the one before is kept and can be put back", async () => {
    const done = await upgrade(["--json"]);
    expect([done.code, JSON.parse(done.out)]).toEqual([
      0,
      { from: OLD, to: NEXT, executable: binary, restarted: false, failed: null },
    ]);
    expect(done.err).toContain("signature and SHA-256: good");
    expect(done.err).toContain("no gateway runs on");
    expect(versionNow()).toBe(NEXT);
    expect(readdirSync(join(place.path, "bin")).sort()).toEqual(["agentbus", "agentbus.previous"]);
    expect(readFileSync(`${binary}.previous`).equals(readFileSync(original))).toBe(true);
    expect((await upgrade()).out).toBe(`agentbus ${NEXT} is what is released\n`);

    expect((await upgrade(["--rollback"])).code).toBe(0);
    expect(readFileSync(binary).equals(readFileSync(original))).toBe(true);
    expect((await upgrade(["--rollback"])).code).toBe(0);
    expect(versionNow()).toBe(NEXT);
  });

  test("an older one only where it is named", async () => {
    publishScript("0.0.9", "exit 1");
    expect((await upgrade()).out).toContain(`agentbus ${OLD} is newer than 0.0.9`);
    isAsItWas();
    expect((await upgrade(["--version", "v0.0.9"])).code).toBe(0);
    expect(versionNow()).toBe("0.0.9");
  });
});

describe.skipIf(!able)("what is not in order is refused, and nothing is changed:", () => {
  test.each(wrongReleases({ version: NEXT, target: TARGET, site: () => site, key: () => own.key }))(
    "%s",
    async (_what, spoil, said) => {
      spoil(site.place(NEXT));
      const { code, out, err } = await upgrade();
      expect([code, out]).toEqual([1, ""]);
      expect(err).toMatch(said);
      isAsItWas();
    },
  );

  test("another version than the one that was asked for", async () => {
    symlinkSync(site.place(NEXT), site.place("7.2.0"));
    const { code, err } = await upgrade(["--version", "7.2.0"]);
    expect([code, err]).toEqual([1, expect.stringContaining(`is version ${NEXT}, not 7.2.0`)]);
    isAsItWas();
    rmSync(site.place("7.2.0"));
  });

  test("a release of somebody else's, unless their key is given", async () => {
    const other = newKey();
    signAnew(site.place(NEXT), other);
    expect((await upgrade()).code).toBe(1);
    isAsItWas();
    const file = place.file("other.pub", other.public);
    expect((await upgrade(["--public-key", file])).code).toBe(0);
    expect(versionNow()).toBe(NEXT);
  });

  test("while another upgrade is under way; one that was killed is none", async () => {
    const workplaceOf = join(place.path, "bin/.agentbus-upgrade");
    mkdirSync(workplaceOf);
    writeFileSync(join(workplaceOf, "pid"), String(process.pid));
    const { code, err } = await upgrade();
    expect([code, err]).toEqual([1, expect.stringContaining("another upgrade is under way")]);
    rmSync(join(workplaceOf, "pid"));
    expect((await upgrade()).code).toBe(0);
    expect(existsSync(workplaceOf)).toBe(false);
  });

  test("what was built from the sources", async () => {
    const sources = Bun.env["AGENTBUS_BINARY"];
    if (sources === undefined || sources === "") return;
    const { exitCode, stderr } = Bun.spawnSync([sources, "upgrade", "--check"], { stderr: "pipe" });
    expect([exitCode, stderr.toString()]).toEqual([1, expect.stringContaining("built from the sources")]);
  });
});

describe.skipIf(!able)("with a gateway", () => {
  async function say(gateway: RunningGateway, session: string): Promise<void> {
    const response = await fetch(`${gateway.url}/api/v1/chat`, {
      method: "POST",
      headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
      body: JSON.stringify({ message: "Hello", session_id: session, wait: true }),
    });
    expect(response.status).toBe(200);
  }

  test("it is the new one in the same process, and has everything", async () => {
    await using gateway = await startGateway({ binary, env: GRACE });
    const { pid } = gateway;
    await say(gateway, "before");
    const done = await upgrade([], gateway);
    expect(done).toMatchObject({ code: 0, out: `agentbus ${NEXT} runs, and is ready\n` });
    const lines = gateway.log.filter(({ msg }) => msg === "listening");
    expect(lines.map((line) => [line["version"], line["pid"]])).toEqual([
      [OLD, pid],
      [NEXT, pid],
    ]);
    const url = String(lines.at(-1)?.["url"]);
    const headers = { authorization: `Bearer ${gateway.token}` };
    const { version } = (await (await fetch(`${url}/status`, { headers })).json()) as { version: string };
    expect(version).toBe(NEXT);
    const listed = await (await fetch(`${url}/api/v1/sessions/before/messages`, { headers })).text();
    expect(listed).toContain("Hello");
    expect((await upgrade(["--rollback"], gateway)).out).toBe(`agentbus ${OLD} runs, and is ready\n`);
  });

  test("it is left alone where that is asked for, or where it is another executable", async () => {
    await using gateway = await startGateway({ binary, env: GRACE });
    const done = await upgrade(["--no-restart"], gateway);
    expect([done.code, done.err]).toEqual([0, expect.stringContaining("runs on as it was")]);
    expect((await upgrade(["--rollback", "--no-restart"], gateway)).code).toBe(0);
    await using other = await startGateway({ binary: original, env: GRACE });
    const { code, err } = await upgrade([], other);
    expect([code, err]).toEqual([0, expect.stringContaining("is not this executable: restart it yourself")]);
    expect(gateway.log.filter(({ msg }) => msg === "listening")).toHaveLength(1);
  });

  test("it is started anew by the next upgrade, where only its executable was replaced", async () => {
    await using gateway = await startGateway({ binary, env: GRACE });
    expect((await upgrade(["--no-restart"], gateway)).code).toBe(0);
    expect(await upgrade(["--no-restart"], gateway)).toMatchObject({
      code: 0,
      out: `agentbus ${NEXT} is what is released\n`,
    });
    const done = await upgrade([], gateway);
    expect([done.code, done.out]).toEqual([0, `agentbus ${NEXT} runs, and is ready\n`]);
    expect(done.err).toContain(`agentbus ${NEXT} is what is released\nrestarting the gateway (process`);
    expect(await upgrade([], gateway)).toMatchObject({ out: `agentbus ${NEXT} is what is released\n` });
    const lines = gateway.log.filter(({ msg }) => msg === "listening");
    expect(lines.map((line) => line["version"])).toEqual([OLD, NEXT]);
  });

  test("what ends at once is replaced by the one before; what to do is said where nobody starts it", async () => {
    await using gateway = await startGateway({ binary, env: GRACE });
    publishScript("7.3.0", "exit 7");
    const { code, err } = await upgrade(["--ready-secs", "2"], gateway);
    expect(code).toBe(1);
    expect(err).toMatch(
      /7\.3\.0 is not ready \(it ended\): .* is back in its place, but does not run .*Start it as it was/s,
    );
    expect(readFileSync(binary).equals(readFileSync(original))).toBe(true);
    expect(await gateway.exited).toBe(7);
  }, 90_000);

  test.each([
    ["ends at once", "exit 7", /it ended/],
    ["never listens", "exec sleep 1000", /it did not start/],
  ])(
    "one that %s: the one before runs again, where somebody looks after the process",
    async (_what, serve, said) => {
      // As a service manager with Restart=always.
      const supervisor = place.file(
        "supervisor.sh",
        `#!/bin/sh\ntrap 'kill $!; exit' TERM\nwhile :; do ${binary} "$@" & wait $!; done\n`,
      );
      Bun.spawnSync(["chmod", "+x", supervisor]);
      await using gateway = await startGateway({ binary: supervisor, env: GRACE });
      publishScript("7.4.0", serve);
      const { code, err } = await upgrade(["--ready-secs", "3"], gateway);
      expect(code).toBe(1);
      expect(err).toMatch(said);
      expect(err).toContain(`${OLD} is back in its place, and runs again`);
      expect(readFileSync(binary).equals(readFileSync(original))).toBe(true);
      const lines = gateway.log.filter(({ msg }) => msg === "listening");
      expect(lines.at(-1)).toMatchObject({ version: OLD });
    },
    90_000,
  );
});

test("the service a process belongs to is read of its control groups", () => {
  expect(unitIn("0::/system.slice/agentbus.service\n")).toEqual({ unit: "agentbus.service", user: false });
  const user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/agentbus.service\n";
  expect(unitIn(user)).toEqual({ unit: "agentbus.service", user: true });
  const old = "12:cpu:/\n1:name=systemd:/system.slice/agentbus.service\n";
  expect(unitIn(old)).toEqual({ unit: "agentbus.service", user: false });
  for (const none of ["0::/\n", "0::/user.slice/user-0.slice/session-1.scope\n", "0::/docker/0123\n", ""])
    expect(unitIn(none)).toBe(null);
});
