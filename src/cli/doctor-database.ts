import { inspectDatabase } from "../database-check.ts";
import { examineStorage } from "../storage.ts";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";

const MIB = 1024 * 1024;
/** Larger ones take minutes to read: only where that is asked for. */
const QUICK_BYTES = 1024 * MIB;

/** Whether the database can be read from end to end, or that of storage.url be used. The gateway that writes it goes on. */
export async function checkDatabase(config: Config, deep: boolean): Promise<Finding> {
  const check = "database";
  const { server } = config;
  const shared = await examineStorage(config);
  if (shared !== null) return { check, ...shared };
  const found = inspectDatabase(server.data_dir, deep, QUICK_BYTES);
  if (found === null) return { check, state: "ok", finding: "none yet; the first start makes one" };
  const size = `${Math.ceil(found.bytes / MIB)} MiB`;
  const [fault] = found.faults;
  if (fault !== undefined) {
    const finding = `${found.file} is not as it should be: ${found.faults.join("; ").slice(0, 500)}`;
    const advice = adviceFor(fault);
    return { check, state: "failed", finding, advice };
  }
  if (!found.read) return { check, state: "ok", finding: `${size}, not read: agentbus doctor --deep does` };
  return { check, state: "ok", finding: `${size}, ${deep ? "all of it" : "every page"} read and in order` };
}

function adviceFor(fault: string): string {
  if (fault.includes("migration"))
    return "run agentbus migrate again, which goes on where it stopped, or remove that file";
  return fault.includes("newer agentbus")
    ? "use that version, or restore a backup from before it"
    : "stop the gateway, keep a copy of the data directory, and put a backup in place: agentbus restore FILE";
}
