import { readFileSync } from "node:fs";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";

/** For the database, providers, tool servers, files and what listens. */
const OTHERS = 256;

/** Whether there may be as many open files as connections may come. `pid`: of the gateway that runs; null: what is started here. */
export function checkDescriptors({ gateway }: Config, pid: number | null): Finding[] {
  const check = "open files";
  const limit = limitOf(pid);
  if (limit === null) return [];
  const needed = gateway.max_connections + OTHERS;
  const whose = pid === null ? "a process that is started here" : `the gateway (pid ${pid})`;
  const finding = `${whose} may have ${limit === Infinity ? "any number" : limit}`;
  if (limit >= needed) return [{ check, state: "ok", finding }];
  const advice =
    `raise it to ${needed} or more (LimitNOFILE= of its service, or ulimit -n ${needed} before it is started), ` +
    `or lower gateway.max_connections, which is ${gateway.max_connections}`;
  return [
    { check, state: "warning", finding: `${finding}, which is fewer than connections may need`, advice },
  ];
}

/** Null: it cannot be known. */
function limitOf(pid: number | null): number | null {
  try {
    const text = readFileSync(`/proc/${pid ?? "self"}/limits`, "utf8");
    const [, soft] = /^Max open files\s+(\S+)/m.exec(text) ?? [];
    return soft === "unlimited" ? Infinity : Number(soft) || null;
  } catch {
    // Not on this system, or another user's.
    return shellLimit(pid);
  }
}

function shellLimit(pid: number | null): number | null {
  if (pid !== null || process.platform === "win32") return null;
  const { stdout } = Bun.spawnSync(["/bin/sh", "-c", "ulimit -n"], { stderr: "ignore" });
  const text = stdout.toString().trim();
  return text === "unlimited" ? Infinity : Number(text) || null;
}
