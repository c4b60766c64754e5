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

/** One that was for one moment is there so long after it. */
const DONE_KEPT_MS = 24 * 3_600_000;
/** For what was said by a clock that was no further ahead nothing is said again. */
const AHEAD_MS = 24 * 3_600_000;

/** Whether it had one moment, which is long past. */
export function isDone(
  { at, enabled }: StoredSchedule,
  { next_at, last }: ScheduleState,
  now: number,
): boolean {
  return at !== null && enabled && next_at === null && last !== null && now - at > DONE_KEPT_MS;
}

/** Whether its next moment was reckoned by a clock that was far ahead of what it says now. */
export function isAhead(schedule: StoredSchedule, { next_at }: ScheduleState, now: number): boolean {
  if (!schedule.enabled || next_at === null || next_at - now <= AHEAD_MS) return false;
  try {
    return next_at - (calendarOf(schedule).next(now) ?? next_at) > AHEAD_MS;
  } catch {
    // A time zone that is none any more is told when it is due.
    return false;
  }
}

/** Whether both tell of the same run. */
export function isSame(written: ScheduleState, said: ScheduleState): boolean {
  return written.last?.run_id === said.last?.run_id;
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
