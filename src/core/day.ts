const DAY_MS = 86_400_000;
/** Days from the first of March of the year 0, where leap days come last in their year, to 1970. */
const DAYS_TO_1970 = 719_468;
/** In four hundred years, after which the calendar repeats. */
const ERA_DAYS = 146_097;

/** The day of a time in milliseconds since 1970, "2026-01-31", UTC. */
export function dayOf(time: number): string {
  const days = Math.floor(time / DAY_MS) + DAYS_TO_1970;
  const era = Math.floor(days / ERA_DAYS);
  const day_of_era = days - era * ERA_DAYS;
  const leaps = div(day_of_era, 1_460) - div(day_of_era, 36_524) + div(day_of_era, ERA_DAYS - 1);
  const year_of_era = div(day_of_era - leaps, 365);
  const day_of_year = day_of_era - (365 * year_of_era + div(year_of_era, 4) - div(year_of_era, 100));
  // Months from March on have 153 days in five.
  const from_march = div(5 * day_of_year + 2, 153);
  const day = day_of_year - div(153 * from_march + 2, 5) + 1;
  const month = from_march < 10 ? from_march + 3 : from_march - 9;
  const year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  return [pad(year, 4), pad(month, 2), pad(day, 2)].join("-");
}

/** The month of a day: "2026-01". */
export function monthOf(day: string): string {
  return day.slice(0, 7);
}

/** When the day of a time is over, in milliseconds since 1970. */
export function endOfDay(time: number): number {
  return (Math.floor(time / DAY_MS) + 1) * DAY_MS;
}

/** When the month of a time is over. */
export function endOfMonth(time: number): number {
  const month = monthOf(dayOf(time));
  let end = endOfDay(time);
  while (monthOf(dayOf(end)) === month) end += DAY_MS;
  return end;
}

function div(a: number, b: number): number {
  return Math.floor(a / b);
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, "0");
}
