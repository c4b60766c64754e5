import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { NodeName } from "./lease.ts";

/** Made once per data directory, which one process at a time holds. */
export function nodeName(data_dir: string, configured: string): NodeName {
  const path = join(data_dir, "node");
  if (!existsSync(path)) writeFileSync(path, `${crypto.randomUUID()}\n`, { mode: 0o600 });
  const key = readFileSync(path, "utf8").trim();
  return { key, name: configured === "" ? `${hostname()}-${key.slice(0, 8)}` : configured };
}
