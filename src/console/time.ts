const DAY_MS = 86_400_000;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dated = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** When something was, as short as it can be told. */
export function shortTime(ms: number): string {
  return Date.now() - ms < DAY_MS ? clock.format(ms) : date.format(ms);
}

export function longTime(ms: number): string {
  return dated.format(ms);
}

/** In which part of the list a session of that age stands. */
export function ageOf(ms: number, now: number): string {
  const today = new Date(now).setHours(0, 0, 0, 0);
  if (ms >= today) return "Today";
  if (ms >= today - DAY_MS) return "Yesterday";
  if (ms >= today - 7 * DAY_MS) return "The last seven days";
  return "Earlier";
}

export function duration(secs: number): string {
  if (secs < 60) return `${Math.round(secs)} s`;
  if (secs < 3_600) return `${Math.round(secs / 60)} min`;
  if (secs < 172_800) return `${Math.round(secs / 3_600)} h`;
  return `${Math.round(secs / 86_400)} days`;
}
