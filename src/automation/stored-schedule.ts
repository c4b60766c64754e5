import type { MadeBy } from "../core/maker.ts";
import type { ScheduleView } from "../core/automation.ts";
import type { Scope } from "../protocol/schema.ts";
import type { Calendar } from "./cron.ts";
import { cronCalendar, onceCalendar } from "./cron.ts";

/** As stored, apart from what becomes of it. */
export interface StoredSchedule extends MadeBy {
  readonly id: string;
  /** What of chat.write whoever made it had: it does later no more than they might do themselves. */
  readonly scopes: readonly Scope[];
  readonly name: string;
  /** One of the two is set. */
  readonly cron: string | null;
  readonly at: number | null;
  readonly timezone: string;
  readonly session_id: string | null;
  readonly message: string;
  readonly model: string | null;
  readonly on_busy: ScheduleView["on_busy"] | null;
  readonly missed: ScheduleView["missed"];
  readonly overlap: ScheduleView["overlap"];
  readonly enabled: boolean;
  readonly created_at: number;
  readonly updated_at: number;
}

/** What became of it so far: written in one transaction with the message it was said by. */
export interface ScheduleState {
  readonly id: string;
  readonly owner: string;
  /** When it is due; null: never again. */
  readonly next_at: number | null;
  readonly last: ScheduleView["last"] | null;
}

/** @throws Error that says what is wrong with cron or timezone */
export function calendarOf({
  cron,
  at,
  timezone,
}: Pick<StoredSchedule, "cron" | "at" | "timezone">): Calendar {
  return cron === null ? onceCalendar(at ?? 0) : cronCalendar(cron, timezone);
}

export function viewSchedule(schedule: StoredSchedule, { next_at, last }: ScheduleState): ScheduleView {
  const { id, owner, name, cron, at, timezone, session_id, message, model, on_busy, missed, overlap } =
    schedule;
  const { enabled, created_at, updated_at } = schedule;
  return {
    schedule_id: id,
    owner,
    name,
    ...(cron !== null && { cron }),
    ...(at !== null && { at }),
    timezone,
    ...(session_id !== null && { session_id }),
    message,
    ...(model !== null && { model }),
    ...(on_busy !== null && on_busy !== undefined && { on_busy }),
    missed,
    overlap,
    enabled,
    created_at,
    updated_at,
    ...(next_at !== null && { next_at }),
    ...(last !== null && last !== undefined && { last }),
  };
}
