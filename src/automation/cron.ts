import { Cron } from "croner";

/** When something is due. */
export interface Calendar {
  /** The first moment after this one; null: there is none any more. */
  next(after: number): number | null;
  /** The newest moments in [from, upto], at most so many, oldest first. */
  between(from: number, upto: number, most: number): number[];
}

/**
 * Moments that a cron expression names by the clock of a time zone. A moment that the clock skips in spring comes when it has
 * skipped it, one that it shows twice in autumn comes once; what is due every so many minutes keeps its pace through both.
 * @throws Error that says what is wrong with which of them
 */
export function cronCalendar(expression: string, timezone: string): Calendar {
  checkZone(timezone);
  const cron = parse(expression, timezone);
  return {
    next: (after) => cron.nextRun(new Date(after))?.getTime() ?? null,
    between(from, upto, most) {
      // The library's end is not among them.
      const found = cron.previousRuns(most, new Date(upto + 1_000)).map((each) => each.getTime());
      return found.filter((each) => each >= from && each <= upto).toReversed();
    },
  };
}

/** One moment. */
export function onceCalendar(at: number): Calendar {
  return {
    next: (after) => (after < at ? at : null),
    between: (from, upto) => (from <= at && at <= upto ? [at] : []),
  };
}

function parse(expression: string, timezone: string): Cron {
  try {
    // Never started: it only says when.
    return new Cron(expression, { timezone, paused: true, mode: "5-part" });
  } catch (error) {
    const why = (error instanceof Error ? error.message : String(error)).replace(/^CronPattern: /, "");
    throw new Error(`cron: ${why.slice(0, 200)}`, { cause: error });
  }
}

function checkZone(timezone: string): void {
  try {
    new Intl.DateTimeFormat("en", { timeZone: timezone });
  } catch (error) {
    throw new Error(`timezone: "${timezone}" is none; write it like Europe/Berlin or UTC`, { cause: error });
  }
}

export type Missed = "skip" | "once" | "all";

/** What to do about moments that have come. */
export interface Plan {
  /** The one to say something for now; null: none. */
  readonly due: number | null;
  /** When to look again; null: never. It may have come already. */
  readonly next: number | null;
}

/** A moment that is not older is not missed. */
const GRACE_MS = 60_000;

/**
 * What `next` and those after it come to at `now`, which is not before it. @param since when it was first tried to do
 * something for it: what could not be done in time was not missed
 */
export function planOf(
  calendar: Calendar,
  next: number,
  now: number,
  missed: Missed,
  catch_up: number,
  since = now,
): Plan {
  const isTried = missed === "skip" && since - next <= GRACE_MS;
  if (isTried || now - next <= GRACE_MS) return { due: next, next: calendar.next(next) };
  if (missed === "all") {
    const [due = next, following] = calendar.between(next, now, catch_up);
    return { due, next: following ?? calendar.next(Math.max(due, now)) };
  }
  const newest = calendar.between(next, now, 1)[0] ?? next;
  const isLate = now - newest > GRACE_MS;
  return { due: missed === "once" || !isLate ? newest : null, next: calendar.next(now) };
}
