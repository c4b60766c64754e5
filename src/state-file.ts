import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Certificate } from "./certificate.ts";
import type { Config } from "./config.ts";

/** Renamed into place, so that a command never reads half of it. The certificate is the one it may trust. */
export function writeState(config: Config, url: string, certificate: Certificate | null): void {
  const draft = `${stateFile(config)}.${process.pid}`;
  const state = { url, pid: process.pid, ...(certificate !== null && { certificate: certificate.cert }) };
  writeFileSync(draft, JSON.stringify(state), { mode: 0o600 });
  renameSync(draft, stateFile(config));
}

/** Where a running gateway says how it is reached, for the commands. */
export function stateFile(config: Config): string {
  return join(config.server.data_dir, "gateway.json");
}
