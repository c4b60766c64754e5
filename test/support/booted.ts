import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hold } from "./exclusive.ts";
import { workplace } from "./executable.ts";
import type { Outcome } from "./executable.ts";
import { canIsolate } from "./namespaces.ts";
import { needs } from "./needs.ts";

/** A Debian with a systemd of its own that has come up; what it writes is gone with it. */
export interface BootedMachine extends AsyncDisposable {
  /** Runs a program in it, as root, to its end. */
  run(...argv: readonly string[]): Promise<Outcome>;
  /** The same, where it has to end well; what it said. */
  must(...argv: readonly string[]): Promise<string>;
}

const BOOT_MS = 60_000;

/** Whether a Debian can be booted here. */
export function canBoot(): boolean {
  if (process.platform !== "linux") return false;
  if (!needs("systemd-nspawn", "systemd-container") || !needs("debootstrap", "debootstrap")) return false;
  return canIsolate("no systemd can be booted");
}

/** One at a time: systemd-nspawn keeps a folder to itself. `binds`: files of this machine, and where they are in that one, read-only. */
export async function boot(root: string, binds: Readonly<Record<string, string>>): Promise<BootedMachine> {
  const held = await hold("machine");
  const place = workplace();
  const console_ = join(place.path, "console");
  const child = Bun.spawn(
    [
      "systemd-nspawn",
      `--directory=${root}`,
      "--boot",
      // Neither this machine's systemd nor its bus is needed, if it has any.
      "--register=no",
      "--keep-unit",
      "--private-network",
      "--volatile=overlay",
      "--console=pipe",
      "--quiet",
      ...Object.entries(binds).map(([from, to]) => `--bind-ro=${from}:${to}`),
    ],
    { stdin: "ignore", stdout: Bun.file(console_), stderr: Bun.file(`${console_}.err`) },
  );
  const said = (): string =>
    [console_, `${console_}.err`].map((path) => readFileSync(path, "utf8").slice(-2_000)).join("");
  const leader = (): string =>
    readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ")[0] ?? "";

  async function run(...argv: readonly string[]): Promise<Outcome> {
    const inside = Bun.spawn(["nsenter", `--target=${leader()}`, "--all", ...argv], {
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err, code] = await Promise.all([
      new Response(inside.stdout).text(),
      new Response(inside.stderr).text(),
      inside.exited,
    ]);
    return { code, out, err };
  }
  async function stop(): Promise<void> {
    // All of it is in one namespace of processes, and ends with the first of them.
    if (child.exitCode === null && leader() !== "") process.kill(Number(leader()), "SIGKILL");
    await child.exited;
    place[Symbol.dispose]();
    await held[Symbol.asyncDispose]();
  }
  const machine: BootedMachine = {
    run,
    async must(...argv) {
      const { code, out, err } = await run(...argv);
      if (code === 0) return out;
      throw new Error(`${argv.join(" ")} ended with ${code}: ${out}${err}`);
    },
    [Symbol.asyncDispose]: stop,
  };
  for (const end = performance.now() + BOOT_MS; ;) {
    const state =
      child.exitCode === null && leader() !== "" ? await run("systemctl", "is-system-running") : null;
    if (state?.out.trim() === "running") return machine;
    if (state?.out.trim() === "degraded" || child.exitCode !== null || performance.now() > end) {
      const failed = state === null ? "" : (await run("systemctl", "--failed", "--no-pager")).out;
      const all = `${failed}${said()}`;
      await stop();
      throw new Error(`it did not come up: ${state?.out.trim() ?? child.exitCode}\n${all}`);
    }
    await Bun.sleep(50);
  }
}
