import type { Clock, Tool } from "../core/ports.ts";

/** What time it is. */
export function timeTool(clock: Clock): Tool {
  return {
    name: "time",
    description: "The date and time now, in a time zone (an IANA name; without one, UTC).",
    parameters: {
      type: "object",
      properties: { time_zone: { type: "string", maxLength: 64 } },
      additionalProperties: false,
    },
    source: "builtin",
    run: async ({ time_zone = "UTC" }) => {
      const now = clock.now();
      const zone = String(time_zone);
      if (!isZone(zone)) throw new Error(`"${zone}" is no time zone; use an IANA name such as Europe/Berlin`);
      const format = new Intl.DateTimeFormat("en-GB", {
        timeZone: zone,
        dateStyle: "full",
        timeStyle: "long",
      });
      return `${format.format(now)} (${new Date(now).toISOString()})`;
    },
  };
}

function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone: name });
    return true;
  } catch {
    // RangeError: the caller says so in its own words.
    return false;
  }
}
