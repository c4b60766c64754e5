import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { eventually } from "../gateway/stack.ts";
import { boot, canBoot } from "../support/booted.ts";
import type { BootedMachine } from "../support/booted.ts";
import { debianRoot } from "../support/debian-root.ts";
import { AGENTBUS, workplace } from "../support/executable.ts";
import { compileFsyncShim } from "../support/fsync-shim.ts";
import { slowStart } from "./service-slow-start.ts";

const CAN_BOOT = canBoot();
/** A Debian may have to be made first. */
const MAKE_MS = 400_000;
const LONG_MS = 60_000;
setDefaultTimeout(LONG_MS);

// Not skipped where it cannot be: what is skipped fails in CI, and canBoot() has said whether that is known.
if (CAN_BOOT) {
  describe("in a Debian with a systemd of its own", () => {
    const DATA = "/var/lib/agentbus";
    const BACKUPS = "/var/backups/agentbus";
    const UNIT = "/etc/systemd/system/agentbus.service";
    const CONFIG = "/etc/agentbus/agentbus.toml";
    const SLOW_DISK = "/usr/local/lib/slow-disk.so";
    const place = workplace();
    let machine: BootedMachine;
    beforeAll(async () => {
      const [program = ""] = AGENTBUS;
      const shim = compileFsyncShim(place.path, "").env["LD_PRELOAD"] ?? "";
      machine = await boot(await debianRoot(), { [program]: "/usr/local/bin/agentbus", [shim]: SLOW_DISK });
    }, MAKE_MS);
    afterAll(async () => {
      await machine?.[Symbol.asyncDispose]();
      place[Symbol.dispose]();
    }, LONG_MS);

    const show = async (...names: readonly string[]): Promise<Record<string, string>> => {
      const text = await machine.must("systemctl", "show", "agentbus", `--property=${names.join(",")}`);
      return Object.fromEntries(
        text
          .trim()
          .split("\n")
          .map((line) => line.split(/=(.*)/s).slice(0, 2)),
      );
    };
    const pid = async (): Promise<string> => (await show("MainPID"))["MainPID"] ?? "";
    const read = (path: string): Promise<string> => machine.must("cat", path);

    test("installing it has it ready, as a user of its own, with next to no rights", async () => {
      const out = await machine.must("agentbus", "service", "install");
      expect(out).toContain("it runs, and is ready");
      expect(await show("Type", "ActiveState", "UnitFileState", "StatusText")).toEqual({
        Type: "notify",
        ActiveState: "active",
        UnitFileState: "enabled",
        StatusText: "listening on http://127.0.0.1:18789",
      });
      const status = await read(`/proc/${await pid()}/status`);
      const uid = (await machine.must("id", "-u", "agentbus")).trim();
      expect(status).toMatch(new RegExp(`^Uid:\\s+${uid}\\s`, "m"));
      for (const line of [/^NoNewPrivs:\s+1$/m, /^Seccomp:\s+2$/m, /^CapEff:\s+0+$/m, /^CapBnd:\s+0+$/m])
        expect(status).toMatch(line);
      expect(await machine.must("stat", "-c", "%U %a", DATA, `${DATA}/token`, BACKUPS)).toBe(
        "agentbus 700\nagentbus 600\nagentbus 700\n",
      );
      // A thread may have less claim to the processor than the others.
      const filter = (await read(UNIT)).match(/^SystemCall.*$/gm)?.flatMap((line) => ["-p", line]) ?? [];
      const nice = ["systemd-run", "--wait", "--pipe", "--quiet", ...filter, "nice", "-n", "10", "nice"];
      expect(await machine.must(...nice)).toBe("10\n");
      // Whoever writes it anew leaves it readable for the service.
      const init = ["agentbus", "init", "--provider", "demo", "--yes", "--config", CONFIG];
      expect(await machine.must(...init)).toContain("have the service read it with: systemctl restart");
      expect(await machine.must("stat", "-c", "%U:%G %a", CONFIG)).toBe("root:agentbus 640\n");
      await machine.must("systemctl", "restart", "agentbus");
      expect((await machine.run("systemd-analyze", "security", "--threshold=25", "agentbus")).code).toBe(0);
    });

    test("it keeps every promise of the protocol within its sandbox, and says how it is", async () => {
      const demo = "agentbus demo --url http://127.0.0.1:18789 --token-file".split(" ");
      const { out, code } = await machine.run(...demo, `${DATA}/token`);
      expect([code, out.trim().split("\n").at(-1)]).toEqual([0, expect.stringContaining(" 0 failed")]);
      const { restarts, ...state } = JSON.parse(
        await machine.must("agentbus", "service", "status", "--json"),
      );
      expect([state, restarts]).toMatchObject([{ kind: "systemd", installed: true, running: true }, 0]);
    });

    test("the commands of root find it by themselves, with the keys it has, unless another one is meant", async () => {
      await machine.must("sh", "-c", "echo 'MODEL_KEY=\"a key\"' > /etc/agentbus/environment");
      const keyed = '[llm.providers.openai]\\napi_key = "${MODEL_KEY}"\\n';
      await machine.must("sh", "-c", `printf '${keyed}' >> /etc/agentbus/agentbus.toml`);
      expect(JSON.parse(await machine.must("agentbus", "status", "--json"))).toMatchObject({
        status: "healthy",
      });
      const named = await machine.must("agentbus", "status", "--json", "--config", CONFIG);
      expect(JSON.parse(named)).toMatchObject({ status: "healthy" });
      // It was started without that key.
      const { err } = await machine.run("agentbus", "config", "reload");
      expect(err).toContain("what /etc/agentbus/environment says of MODEL_KEY counts from the next start");
      const { out } = await machine.run("agentbus", "doctor");
      expect(out).toContain("does not have what /etc/agentbus/environment says of MODEL_KEY");
      expect(out).toContain("others can read /etc/agentbus/environment");
      expect(out).toContain(`${DATA}, writable and private`);
      expect(out).toContain("healthy at http://127.0.0.1:18789");
      expect(await machine.must("agentbus", "backup", "/tmp")).toContain("/tmp/agentbus-");
      expect(await machine.must("agentbus", "config", "check")).toContain("/etc/agentbus/agentbus.toml");
      // What is wrong there is said with its place, and is nothing to who means another gateway.
      await machine.must("sh", "-c", "echo 'AGENTBUS_SERVER_PORT=no' >> /etc/agentbus/environment");
      const wrong = await machine.run("agentbus", "status");
      expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("of the service (/etc/agentbus/")]);
      const elsewhere = await machine.run("agentbus", "status", "--url", "http://127.0.0.1:1");
      expect([elsewhere.code, elsewhere.err]).toEqual([3, expect.stringContaining("no gateway answers")]);
      const other = await machine.run("agentbus", "doctor", "--data-dir", "/srv/other");
      expect(other.out).toContain("/srv/other is not there yet");
      await machine.must("sh", "-c", "sed -i '/llm.providers/,$d' /etc/agentbus/agentbus.toml");
      await machine.must("rm", "/etc/agentbus/environment");
    });

    test("it lives while it gives signs of life, and is started again when it gives none", async () => {
      const call = (params: object): Promise<string> =>
        machine.must("agentbus", "call", "session.create", JSON.stringify(params), "--data-dir", DATA);
      await call({ session_id: "kept" });
      const folder = "/run/systemd/system/agentbus.service.d";
      const drop_in = `mkdir ${folder} && printf '[Service]\\nWatchdogSec=2s\\nRestartSec=100ms\\n' > ${folder}/soon.conf`;
      await machine.must("sh", "-c", `${drop_in} && systemctl daemon-reload && systemctl restart agentbus`);
      const first = await pid();
      await Bun.sleep(5_000);
      expect(await pid()).toBe(first);
      await machine.must("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "agentbus");
      const state = () => show("ActiveState", "NRestarts");
      await eventually(
        state,
        (each) => each["ActiveState"] === "active" && each["NRestarts"] === "1",
        30_000,
      );
      expect(await pid()).not.toBe(first);
      expect(await machine.must("journalctl", "-u", "agentbus", "-o", "cat")).toContain("Watchdog timeout");
      const listed = await machine.must("agentbus", "call", "session.list", "--data-dir", DATA);
      expect(listed).toContain('"kept"');
    });

    test("backups go where its configuration says, once its unit lets them", async () => {
      await machine.must("install", "-d", "-o", "agentbus", "/srv/backups");
      await machine.must("sh", "-c", `printf '[backup]\\ndirectory = "/srv/backups"\\n' > ${CONFIG}`);
      const status = async () => JSON.parse(await machine.must("agentbus", "call", "system.status"));
      await machine.must("systemctl", "restart", "agentbus");
      const { backup } = await eventually(status, (each) => each.backup?.reason !== undefined, 30_000);
      expect(backup.reason).toContain("`agentbus service install` again");
      await machine.must("agentbus", "service", "install");
      await eventually(status, (each) => each.backup?.last_at !== undefined, 30_000);
      await machine.must("mount", "-o", "bind,ro", "/srv", "/mnt");
      const { code, err } = await machine.run("agentbus", "backup", "/mnt");
      expect([code, err]).toEqual([1, expect.stringContaining("cannot be backed up: EROFS")]);
      expect(await machine.must("ls", "/srv/backups")).toMatch(/^agentbus-.*\.db\n$/);
    });

    test("it stops in order", async () => {
      await machine.must("systemctl", "stop", "agentbus");
      expect(await show("ActiveState", "Result", "ExecMainStatus")).toEqual({
        ActiveState: "inactive",
        Result: "success",
        ExecMainStatus: "0",
      });
      expect((await machine.run("agentbus", "service", "status")).code).toBe(1);
      const doctor = () => machine.run("agentbus", "doctor");
      const down = await doctor();
      expect([down.code, down.out]).toEqual([
        1,
        expect.stringMatching(
          /✗ gateway +its service does not run: inactive \(dead\)\n[^→]*→ systemctl start agentbus .*journalctl -u agentbus /,
        ),
      ]);
      // What root can read and its user cannot.
      await machine.must("chmod", "600", CONFIG);
      expect((await machine.run("systemctl", "start", "agentbus")).code).toBe(1);
      const closed = await doctor();
      expect(closed.code).toBe(1);
      expect(closed.out).toMatch(/✗ gateway +its service does not run: (?:failed|activating) \(/);
      expect(closed.out).toContain(`cannot read the configuration ${CONFIG}: permission denied`);
      expect(closed.out).toMatch(
        /✗ rights +the configuration, .* cannot be read by agentbus, as whom the service runs.*\n +→ chgrp \d+ /,
      );
      await machine.must("chmod", "640", CONFIG);
      await machine.must("systemctl", "start", "agentbus");
      const up = await doctor();
      expect([up.code, up.out]).toEqual([0, expect.stringContaining("✓ rights ")]);
      const { InvocationID: start } = await show("InvocationID");
      const told = () => machine.must("journalctl", `_SYSTEMD_INVOCATION_ID=${start}`, "-o", "cat");
      const log = await eventually(told, (text) => text.includes('"msg":"listening"'));
      expect(log).not.toContain("did not stop cleanly");
    });

    test("it has as long as its database takes to open, and is stopped meanwhile as at any time", () =>
      slowStart(machine, show, { data_dir: DATA, shim: SLOW_DISK }));

    test("what root restores belongs to it, and it goes on with that", async () => {
      const [, file = ""] = /^(.*?\.db): /.exec(await machine.must("agentbus", "backup", "/tmp")) ?? [];
      const restore = ["agentbus", "restore", file, "--yes"];
      const { code, err } = await machine.run(...restore);
      expect([code, err]).toEqual([1, expect.stringContaining("is in use by another agentbus process")]);
      await machine.must("systemctl", "stop", "agentbus");
      await machine.must("rm", `${DATA}/lock.db`);
      // One of root's own may be meant as well.
      const own = ["env", "XDG_DATA_HOME=/srv/own"];
      await machine.must("sh", "-c", "mkdir -p /srv/own/agentbus && touch /srv/own/agentbus/agentbus.db");
      const either = await machine.run(...own, ...restore);
      expect([either.code, either.err]).toEqual([1, expect.stringContaining("say which one is meant")]);
      expect(await machine.must(...restore)).toContain(`into ${DATA}`);
      await machine.must("systemctl", "start", "agentbus");
      expect(await machine.must("stat", "-c", "%U %a", `${DATA}/agentbus.db`, `${DATA}/lock.db`)).toBe(
        "agentbus 600\nagentbus 644\n",
      );
      expect(await machine.must("agentbus", "call", "session.list")).toContain('"kept"');
    });

    test("what keeps it from starting is told with the last of its log", async () => {
      await machine.must("sh", "-c", "printf '[server]\\nprot = 1\\n' > /etc/agentbus/agentbus.toml");
      const { code, err } = await machine.run("agentbus", "service", "install");
      expect(code).toBe(1);
      expect(err).toContain("did you mean");
      await machine.must("sh", "-c", "printf '[server]\\nport = 18790\\n' > /etc/agentbus/agentbus.toml");
      await machine.must("agentbus", "service", "install");
      expect((await show("StatusText"))["StatusText"]).toBe("listening on http://127.0.0.1:18790");
      // Read again while it runs, it says what is wrong, and goes on.
      const change = (text: string) =>
        machine.must("sh", "-c", `printf '${text}' > /etc/agentbus/agentbus.toml`);
      await change('[server]\\nport = 18790\\n[log]\\nlevel = "warn"\\n');
      await machine.must("systemctl", "reload", "agentbus");
      await change("[server]\\nprot = 1\\n");
      expect((await machine.run("systemctl", "reload", "agentbus")).code).toBe(1);
      await change("[server]\\nport = 18790\\n");
      await machine.must("systemctl", "kill", "--kill-whom=main", "--signal=HUP", "agentbus");
      // While it reads it is "reloading".
      await eventually(
        () => show("ActiveState", "NRestarts"),
        ({ ActiveState, NRestarts }) => ActiveState === "active" && NRestarts === "0",
      );
    });

    test("taking it away leaves its data, and says so; installed again it goes on", async () => {
      const token = await read(join(DATA, "token"));
      const out = await machine.must("agentbus", "service", "uninstall");
      expect(out).toContain(`the data stays in ${DATA}`);
      expect(await show("LoadState", "ActiveState")).toEqual({
        LoadState: "not-found",
        ActiveState: "inactive",
      });
      expect(await read(join(DATA, "token"))).toBe(token);
      expect(await machine.must("agentbus", "service", "uninstall")).toContain("no service is installed");
      await machine.must("agentbus", "service", "install");
      expect(await machine.must("agentbus", "call", "session.list", "--data-dir", DATA)).toContain('"kept"');
      expect(await read(join(DATA, "token"))).toBe(token);
      await machine.must("agentbus", "service", "uninstall");
      // What somebody else wrote is theirs.
      await machine.must(
        "sh",
        "-c",
        "printf '[Service]\\nExecStart=true\\n' > /etc/systemd/system/agentbus.service",
      );
      for (const verb of ["install", "uninstall"]) {
        const { code, err } = await machine.run("agentbus", "service", verb);
        expect([code, err]).toEqual([1, expect.stringContaining("move it away first")]);
      }
    });

    test("whoever is not root has a service of their own", async () => {
      // Nobody logs in here, which is what else would say this.
      const drop_in = "/run/systemd/system/user@.service.d";
      const environment = "[Service]\\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\\n";
      const steps = ["useradd -m ada", `mkdir ${drop_in}`, `printf '${environment}' > ${drop_in}/run.conf`];
      await machine.must("sh", "-c", steps.join(" && "));
      const uid = (await machine.must("id", "-u", "ada")).trim();
      const ada = "setpriv --reuid=ada --regid=ada --init-groups env -i -C /home/ada HOME=/home/ada";
      const place = ["PATH=/usr/local/bin:/usr/bin:/bin", `XDG_RUNTIME_DIR=/run/user/${uid}`];
      const as = (...argv: readonly string[]) => machine.run(...ada.split(" "), ...place, ...argv);
      const early = await as("agentbus", "service", "install");
      expect([early.code, early.err]).toEqual([1, expect.stringContaining("log in")]);
      const before = await as("agentbus", "service", "status", "--json");
      expect(JSON.parse(before.out)).toMatchObject({ kind: "systemd", installed: true, running: false });
      await machine.must("systemctl", "daemon-reload");
      await machine.must("systemctl", "start", `user@${uid}`);
      expect(await as("agentbus", "service", "install")).toMatchObject({ code: 0, err: "" });
      const { out } = await as("agentbus", "service", "status", "--json");
      expect(JSON.parse(out)).toMatchObject({ kind: "systemd-user", running: true });
      expect((await as("agentbus", "call", "session.list")).code).toBe(0);
      const gone = await as("agentbus", "service", "uninstall");
      expect([gone.code, gone.out]).toEqual([0, expect.stringContaining("/home/ada/.local/share/agentbus")]);
      expect((await as("cat", ".local/share/agentbus/token")).out).toStartWith("agb_");
    });
  });
}
