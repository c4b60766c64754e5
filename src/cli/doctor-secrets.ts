import { existsSync } from "node:fs";
import { join } from "node:path";
import { inspectSealed } from "../sealed-check.ts";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";
import { explain } from "./explain.ts";
import { readWritten } from "./running.ts";
import { visible } from "./table.ts";

const SHOWN = 5;

/** Whether the key in the data directory opens the secrets of hooks and webhooks; nothing where there are none. */
export function checkSecrets({ server, storage }: Config): Finding[] {
  const check = "secrets";
  // With PostgreSQL the key is in the database, or a gateway without its file does not start.
  if (storage.url !== "") return [];
  const { data_dir } = server;
  if (!existsSync(join(data_dir, "agentbus.db"))) return [];
  const key = join(data_dir, "secrets.key");
  try {
    const isThere = readWritten(data_dir, "secrets.key") !== undefined;
    const { opened, locked } = inspectSealed(data_dir);
    if (opened.length + locked.length === 0) return [];
    if (locked.length === 0) {
      return [{ check, state: "ok", finding: `all ${opened.length} of hooks and webhooks can be opened` }];
    }
    const more = locked.length > SHOWN ? `, and ${locked.length - SHOWN} more` : "";
    const which = `${locked.slice(0, SHOWN).map(visible).join(", ")}${more}`;
    const why = isThere ? `${key} is another key than they were sealed with` : `there is no ${key}`;
    const finding = `the secrets of ${which} cannot be opened: ${why}; hooks refuse what comes, webhooks deliver nothing`;
    const advice = `stop the gateway, copy secrets.key of the data directory they came from to ${key}, start it; where that is lost, give them new secrets: agentbus hook rotate NAME, agentbus webhook rotate NAME`;
    return [{ check, state: "failed", finding, advice }];
  } catch (error) {
    const advice = "let the user of the gateway own it, as a file with mode 600";
    return [{ check, state: "failed", finding: explain(error), advice }];
  }
}
