import { HOOKS } from "./inbound.ts";
import { SCHEDULES, STATES } from "./schedules.ts";
import { openerIn } from "./sealed.ts";
import type { StoredHook } from "./stored-hook.ts";
import { WEBHOOKS } from "./webhooks.ts";

/** How many there are of each kind. */
export interface AutomationCounts {
  hooks: number;
  schedules: number;
  webhooks: number;
}

/** What a backup has of what happens by itself, as it comes into a data directory. */
export interface RestoredAutomation {
  /** Those that were on when the backup was made. */
  readonly active: AutomationCounts;
  /** Those whose secrets the key of the directory does not open. */
  readonly locked: Omit<AutomationCounts, "schedules">;
  readonly collections: readonly string[];
  /** Of each record in those collections: what is stored in its place. */
  revise(collection: string, id: string, data: string): string;
}

const KINDS = { [HOOKS]: "hooks", [SCHEDULES]: "schedules", [WEBHOOKS]: "webhooks" } as const;

/** @throws GatewayError UNAVAILABLE where the key cannot be read */
export function createRestoredAutomation(data_dir: string, turn_off: boolean): RestoredAutomation {
  const opens = openerIn(data_dir);
  const active: AutomationCounts = { hooks: 0, schedules: 0, webhooks: 0 };
  const locked = { hooks: 0, webhooks: 0 };
  return {
    active,
    locked,
    collections: [...Object.keys(KINDS), STATES],
    revise(collection, id, data) {
      const record = JSON.parse(data) as Partial<Pick<StoredHook, "enabled" | "secret">>;
      if (collection === STATES) return turn_off ? JSON.stringify({ ...record, next_at: null }) : data;
      const kind = KINDS[collection as keyof typeof KINDS];
      if (record.enabled === true) active[kind]++;
      if (kind !== "schedules" && !opens(record.secret ?? "", id)) locked[kind]++;
      return turn_off ? JSON.stringify({ ...record, enabled: false }) : data;
    },
  };
}
