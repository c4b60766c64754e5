import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Certificate } from "./certificate.ts";
import type { Config } from "./config.ts";
import { processMark } from "./process-mark.ts";

/** What a gateway that runs says of itself to the commands of this machine. */
interface State {
  readonly url: string;
  readonly version: string;
  /** Milliseconds since 1970: another one at every start. */
  readonly started_at: number;
  /** What this process starts anew in itself on SIGUSR2; left out where it does not. */
  readonly executable?: string | undefined;
}

/** Renamed into place, so that a command never reads half of it. The certificate is the one it may trust. */
export function writeState(config: Config, facts: State, certificate: Certificate | null): void {
  const draft = `${stateFile(config)}.${process.pid}`;
  const mark = processMark(process.pid);
  const state = {
    ...facts,
    pid: process.pid,
    ...(mark !== null && { process: mark }),
    ...(certificate !== null && { certificate: certificate.cert }),
  };
  writeFileSync(draft, JSON.stringify(state), { mode: 0o600 });
  renameSync(draft, stateFile(config));
}

/** Where a running gateway says how it is reached, for the commands. */
export function stateFile(config: Config): string {
  return join(config.server.data_dir, "gateway.json");
}
