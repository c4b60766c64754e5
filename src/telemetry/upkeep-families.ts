import type { Stats } from "../core/stats.ts";
import type { Family } from "./family.ts";
import { by, one } from "./family.ts";

export interface UpkeepParts {
  readonly stats: Pick<Stats, "certificate_expires_at">;
  readonly backups: {
    /** Null: the gateway makes none by itself. */
    measures(): {
      readonly interval_ms: number;
      readonly last_at: number | null;
      readonly counts: Readonly<Record<string, number>>;
    } | null;
  };
}

/** What ends or grows old where nobody looks after it. */
export function upkeepFamilies({ stats, backups }: UpkeepParts): Family[] {
  const made = backups.measures();
  const expires_at = stats.certificate_expires_at();
  return [
    by(
      "counter",
      "agentbus_backups",
      "Backups that the gateway made by itself, and that failed.",
      "outcome",
      Object.entries(made?.counts ?? {}),
    ),
    one(
      "gauge",
      "agentbus_backup_last_success_timestamp_seconds",
      "When the newest backup in backup.directory was made, seconds since 1970; 0: there is none.",
      made === null ? null : (made.last_at ?? 0) / 1_000,
    ),
    one(
      "gauge",
      "agentbus_backup_interval_seconds",
      "How long after the newest backup the next one is made.",
      made === null ? null : made.interval_ms / 1_000,
    ),
    one(
      "gauge",
      "agentbus_certificate_expiry_timestamp_seconds",
      "When the certificate that is served ends, seconds since 1970.",
      expires_at === null ? null : expires_at / 1_000,
    ),
  ];
}
