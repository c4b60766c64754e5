import { statSync } from "node:fs";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";
import { readRunning } from "./running.ts";

const CHECK = "backup";

/** Whether the gateway backs itself up; that one which runs does is told with how it is. `isServer`: others rely on it. */
export function checkBackups({ backup, server, storage }: Config, isServer: boolean): Finding[] {
  const { directory } = backup;
  if (storage.url !== "") return [];
  if (directory === "" && isServer) {
    const finding = "the gateway makes none by itself";
    const advice =
      "set backup.directory, on another disk; where something else runs agentbus backup, as cron does, this is as it should be";
    return [{ check: CHECK, state: "warning", finding, advice }];
  }
  if (directory === "")
    return [{ check: CHECK, state: "ok", finding: "none by itself: agentbus backup FILE makes one" }];
  if (readRunning(server.data_dir) !== null) return [];
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true) return [];
  const finding = `${directory} is no directory, so none is made`;
  const advice = "mount or make it, for the user of the gateway, or set backup.directory to another";
  return [{ check: CHECK, state: "failed", finding, advice }];
}
