import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";

const FLAG = "AGENTBUS_NO_BOOT";

/**
 * Whether namespaces and cgroups can be made here, which no package brings. Where they cannot, `what` is told with the
 * reason, and not run; with CI=true that is a failure, unless AGENTBUS_NO_BOOT=1 says that it is known.
 */
export function canIsolate(what: string): boolean {
  const reason = whyNot();
  if (reason === null) return true;
  const told = `not run: ${what} on this machine (${reason})`;
  if (Bun.env["CI"] === "true" && Bun.env[FLAG] !== "1")
    throw new Error(`${told}; ${FLAG}=1 says that this is known`);
  console.log(told);
  return false;
}

function whyNot(): string | null {
  if (process.platform !== "linux") return "it takes Linux";
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
