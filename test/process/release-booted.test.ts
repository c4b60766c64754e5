import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { deb } from "../../scripts/release-archives.ts";
import { archiveName } from "../../src/cli/release-file.ts";
import type { BootedMachine } from "../support/booted.ts";
import { boot, canBoot } from "../support/booted.ts";
import { debianRoot } from "../support/debian-root.ts";
import { workplace } from "../support/executable.ts";
import type { Published } from "../support/release.ts";
import { RELEASE_MS, builtRelease, ownRelease, publish, scriptArchive } from "../support/release.ts";

const TARGET = "linux-x64";
const NEXT = "7.1.0";
const BROKEN = "7.2.0";
const LONG_MS = 90_000;
const URL_INSIDE = "http://127.0.0.1:8000";
/** The executable can run other programs, too; there is nothing else in that Debian that serves files. */
const SITE = `Bun.serve({
  hostname: "127.0.0.1",
  port: 8000,
  fetch: (request) => new Response(Bun.file("/opt/site" + new URL(request.url).pathname)),
  error: () => new Response("not here", { status: 404 }),
});`;

// Not skipped where it cannot be: canBoot() has said whether that is known.
if (process.arch === "x64" && canBoot()) {
  describe("a service of systemd", () => {
    const place = workplace();
    let site: Published;
    let machine: BootedMachine;
    beforeAll(async () => {
      const own = await ownRelease();
      const next = await builtRelease("next", { version: NEXT, targets: [TARGET], deb: false });
      site = publish();
      const file = archiveName(NEXT, TARGET);
      site.put(NEXT, { [file]: next.read(file) }, own.key);
      const script = `case $1 in version) echo '{"version":"${BROKEN}"}' ;; *) exit 7 ;; esac`;
      site.put(BROKEN, scriptArchive(BROKEN, TARGET, script), own.key);
      const archive = join(own.directory, archiveName(manifest.version, TARGET));
      expect(Bun.spawnSync(["tar", "-xzf", archive], { cwd: place.path }).success).toBe(true);
      const executable = join(place.path, `agentbus-${manifest.version}-${TARGET}/agentbus`);
      const parts = { version: NEXT, architecture: "amd64", license: "", changelog: "" };
      const small = place.file("small", `#!/bin/sh\nexec /usr/local/bin/agentbus "$@"\n`);
      writeFileSync(join(place.path, "small.deb"), deb({ ...parts, executable: small }, 0));
      machine = await boot(await debianRoot(), {
        [executable]: "/opt/agentbus",
        [site.directory]: "/opt/site",
        [join(place.path, "small.deb")]: "/opt/agentbus.deb",
        [place.file("site.ts", SITE)]: "/opt/site.ts",
      });
      await machine.must("cp", "/opt/agentbus", "/usr/local/bin/agentbus");
      await machine.must(
        "systemd-run",
        "--unit=site",
        "--setenv=BUN_BE_BUN=1",
        "/opt/agentbus",
        "/opt/site.ts",
      );
      await machine.must("agentbus", "service", "install");
    }, 2 * RELEASE_MS);
    afterAll(async () => {
      await machine?.[Symbol.asyncDispose]();
      site?.[Symbol.dispose]();
      place[Symbol.dispose]();
    }, LONG_MS);

    const upgrade = (version: string, ready_secs = 30) => {
      const flags = `--version=${version} --base-url=${URL_INSIDE} --ready-secs=${ready_secs}`.split(" ");
      return machine.run("env", "AGENTBUS_SERVER_SHUTDOWN_GRACE_SECS=1", "agentbus", "upgrade", ...flags);
    };
    const pid = () => machine.must("systemctl", "show", "agentbus", "--property=MainPID", "--value");
    const status = async (): Promise<object> => {
      return JSON.parse(await machine.must("agentbus", "status", "--json")) as object;
    };

    test(
      "is restarted by it, and runs what was put in place",
      async () => {
        const before = await pid();
        const done = await upgrade(NEXT);
        expect([done.code, done.out]).toEqual([0, `agentbus ${NEXT} runs, and is ready\n`]);
        expect(done.err).toContain("restarting the gateway (agentbus.service)");
        expect(await pid()).not.toBe(before);
        expect(await status()).toMatchObject({ version: NEXT, status: "healthy" });
      },
      LONG_MS,
    );

    test(
      "runs again what it ran before, where the new one does not start",
      async () => {
        const done = await upgrade(BROKEN, 8);
        expect([done.code, done.out]).toEqual([1, ""]);
        expect(done.err).toContain(
          `${BROKEN} is not ready (it did not start): ${NEXT} is back in its place, and runs again`,
        );
        expect(await status()).toMatchObject({ version: NEXT, status: "healthy" });
        expect(await machine.must("agentbus", "version")).toStartWith(`agentbus ${NEXT} `);
      },
      LONG_MS,
    );

    test(
      "is restarted by an upgrade of the package whose executable it runs, and taken away with that",
      async () => {
        const install = () => machine.must("dpkg", "--install", "/opt/agentbus.deb");
        const first = await pid();
        await install();
        await install();
        expect(await pid()).toBe(first);
        const unit = "/etc/systemd/system/agentbus.service";
        await machine.must("sed", "-i", "s|=/usr/local/bin/|=/usr/bin/|", unit);
        await machine.must("systemctl", "daemon-reload");
        await machine.must("systemctl", "restart", "agentbus");
        const second = await pid();
        await install();
        expect([first, second, "0\n"]).not.toContain(await pid());
        expect(await machine.must("dpkg", "--remove", "agentbus")).toContain(`stopped, and removed ${unit}`);
        expect(await pid()).toBe("0\n");
      },
      LONG_MS,
    );
  });
}
