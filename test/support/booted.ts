import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { workplace } from "./executable.ts";
import type { Outcome } from "./executable.ts";
import { needs } from "./needs.ts";

/** A Debian with a systemd of its own that has come up; what it writes is gone with it. */
export interface BootedMachine extends AsyncDisposable {
  /** Runs a program in it, as root, to its end. */
  run(...argv: readonly string[]): Promise<Outcome>;
  /** The same, where it has to end well; what it said. */
  must(...argv: readonly string[]): Promise<string>;
}

const BOOT_MS = 60_000;
const FLAG = "AGENTBUS_NO_BOOT";

/**
 * Whether a Debian can be booted here. Packages that are missing are told as everywhere (`needs`). What a machine cannot be
 * taught, namespaces and cgroups of its own, is a failure with CI=true, too, unless AGENTBUS_NO_BOOT=1 says that it is known:
 * then what would have been proved is named, and not run.
 */
export function canBoot(): boolean {
  if (process.platform !== "linux") return false;
  if (!needs("systemd-nspawn", "systemd-container") || !needs("debootstrap", "debootstrap")) return false;
  const reason = whyNot();
  if (reason === null) return true;
  const isKnown = Bun.env[FLAG] === "1";
  const told = `not run: no systemd can be booted on this machine (${reason})`;
  if (Bun.env["CI"] === "true" && !isKnown) throw new Error(`${told}; ${FLAG}=1 says that this is known`);
  console.log(told);
  return false;
}

function whyNot(): string | null {
  if (process.getuid?.() !== 0) return "only root can";
  const spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork"];
  const { success, stderr } = Bun.spawnSync(["unshare", ...spaces, "mount", "-t", "tmpfs", "none", "/mnt"]);
  if (!success) return `no namespaces: ${stderr.toString().trim()}`;
  const isUnified = existsSync("/sys/fs/cgroup/cgroup.controllers");
  const group = join("/sys/fs/cgroup", isUnified ? "" : "systemd", `agentbus-${process.pid}`);
  try {
    mkdirSync(group);
    rmdirSync(group);
    return null;
  } catch (error) {
    return `no cgroups: ${String(error)}`;
  }
}

/** `binds`: files of this machine, and where they are in that one, read-only. */
export async function boot(root: string, binds: Readonly<Record<string, string>>): Promise<BootedMachine> {
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
