import type { ParamsFor, ResultFor } from "../client/methods.ts";
import { administer } from "./administer.ts";
import { enabledOf, idOf, stateOf } from "./automation.ts";
import type { Command, Input, OptionSpecs } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { oneOf } from "./one-of.ts";
import { table } from "./table.ts";
import { TARGET_OPTIONS } from "./target.ts";

type Schedule = ResultFor<"schedule.list">["schedules"][number];

const OPTIONS: OptionSpecs = { json: { summary: "as JSON" }, ...TARGET_OPTIONS };
const DETAILS = "Works on the running gateway; with none running on the store itself.";
const WHEN = [
  "When is a cron expression of five fields (minute hour day month weekday), @hourly, @daily, @weekly or @monthly, by the clock of",
  "--timezone; or one moment, as 2026-12-24T18:00 by that clock, or with Z or an offset at its end.",
].join("\n");
const ON_BUSY = ["queue", "steer", "interrupt", "reject"] as const;
const MISSED = ["skip", "once", "all"] as const;
const OVERLAP = ["skip", "send"] as const;
const CHOICES: OptionSpecs = {
  name: { value: "NAME", summary: "what it is called" },
  session: { value: "SESSION", summary: "where it is said; default: a new one each time" },
  timezone: { value: "ZONE", summary: "such as Europe/Berlin; default: that of this machine" },
  model: { value: "MODEL", summary: "who answers; default: the session's" },
  "on-busy": { value: "POLICY", summary: "queue, steer, interrupt or reject, while the session answers" },
  missed: {
    value: "POLICY",
    summary: "once (default), skip or all: moments at which the gateway did not run",
  },
  overlap: { value: "POLICY", summary: "skip (default) or send, while the run before it is not over" },
};

export const scheduleCommands: readonly Command[] = [
  {
    name: "schedule create",
    summary: "have a message said again and again, or once later",
    usage: "WHEN MESSAGE",
    details: `${WHEN}\n${DETAILS}`,
    args: [2, 2],
    options: { ...CHOICES, ...OPTIONS },
    run: async (input, io) => {
      const [when = "", message = ""] = input.args;
      const { session_id, ...choices } = choicesOf(input);
      const params = {
        ...whenOf(when, input),
        message,
        ...choices,
        ...(session_id !== undefined && { session_id }),
      };
      const made = await administer(input, io, "schedule.create", params);
      tell(input, io, made, `${made.schedule_id}: next at ${momentOf(made.next_at)}`);
      return EXIT.ok;
    },
  },
  {
    name: "schedule list",
    summary: "what is said by itself, when next, and what came of the last time",
    usage: "",
    details: DETAILS,
    args: [0, 0],
    options: OPTIONS,
    run: async (input, io) => {
      const { schedules } = await administer(input, io, "schedule.list", {});
      if (input.on("json")) outJson(io, { schedules });
      else for (const line of tableOf(schedules)) io.out(line);
      return EXIT.ok;
    },
  },
  {
    name: "schedule update",
    summary: "change a schedule, or turn it off and on",
    usage: "SCHEDULE",
    details: `SCHEDULE is its id or its name. ${DETAILS}`,
    args: [1, 1],
    options: {
      when: { value: "WHEN", summary: "as schedule create takes it" },
      message: { value: "TEXT", summary: "what is said" },
      ...CHOICES,
      enable: { summary: "say it from now on" },
      disable: { summary: "say nothing" },
      ...OPTIONS,
    },
    run: update,
  },
  {
    name: "schedule run",
    summary: "say the message of a schedule now",
    usage: "SCHEDULE",
    details: "SCHEDULE is its id or its name.",
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const answer = await administer(input, io, "schedule.run", { schedule_id: await named(input, io) });
      tell(input, io, answer, `${answer.status}: ${answer.run_id} in ${answer.session_id}`);
      return EXIT.ok;
    },
  },
  {
    name: "schedule delete",
    summary: "end a schedule: its message is not said any more",
    usage: "SCHEDULE",
    details: `SCHEDULE is its id or its name. ${DETAILS}`,
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const answer = await administer(input, io, "schedule.delete", { schedule_id: await named(input, io) });
      tell(input, io, answer, answer.deleted ? "deleted" : "there was none");
      return EXIT.ok;
    },
  },
];

async function update(input: Input, io: Io): Promise<number> {
  const [when, message] = [input.text("when"), input.text("message")];
  const changed = await administer(input, io, "schedule.update", {
    schedule_id: await named(input, io),
    ...(when === undefined ? zoneOf(input) : whenOf(when, input)),
    ...(message !== undefined && { message }),
    ...choicesOf(input),
    ...enabledOf(input, "schedule update"),
  });
  tell(
    input,
    io,
    changed,
    changed.enabled ? `changed; next at ${momentOf(changed.next_at)}` : "changed; it is off",
  );
  return EXIT.ok;
}

type Choices = Pick<
  ParamsFor<"schedule.update">,
  "name" | "session_id" | "model" | "on_busy" | "missed" | "overlap"
>;

function choicesOf(input: Input): Choices {
  const [name, session_id, model] = [input.text("name"), input.text("session"), input.text("model")];
  const [on_busy, missed, overlap] = [input.text("on-busy"), input.text("missed"), input.text("overlap")];
  return {
    ...(name !== undefined && { name }),
    ...(session_id !== undefined && { session_id }),
    ...(model !== undefined && { model }),
    ...(on_busy !== undefined && { on_busy: oneOf("--on-busy", on_busy, ON_BUSY) }),
    ...(missed !== undefined && { missed: oneOf("--missed", missed, MISSED) }),
    ...(overlap !== undefined && { overlap: oneOf("--overlap", overlap, OVERLAP) }),
  };
}

function zoneOf(input: Input): { timezone?: string } {
  const timezone = input.text("timezone");
  return timezone === undefined ? {} : { timezone };
}

/** @throws UsageError for a moment that is none */
function whenOf(text: string, input: Input): { cron?: string; at?: number; timezone: string } {
  const { timezone = new Intl.DateTimeFormat().resolvedOptions().timeZone } = zoneOf(input);
  if (!/^\d{4}-/.test(text)) return { cron: text, timezone };
  const [, local, offset = ""] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(Z|[+-]\d\d:\d\d)?$/.exec(text) ?? [];
  const at = local === undefined ? Number.NaN : Date.parse(`${local}${offset === "" ? "Z" : offset}`);
  if (Number.isNaN(at))
    throw new UsageError(`"${text}" is no moment: write it like 2026-12-24T18:00 or 2026-12-24T17:00Z`);
  return { at: offset === "" ? byClockOf(timezone, at) : at, timezone };
}

/** When the clock of a zone shows what a clock in UTC shows at `shown`. @throws UsageError */
function byClockOf(timezone: string, shown: number): number {
  // What is off there may differ between the two: the second look is at the right place.
  return [0, 1].reduce((guess) => shown - offsetAt(timezone, guess), shown);
}

/** How far the clock of a zone is ahead of UTC. @throws UsageError */
function offsetAt(timezone: string, at: number): number {
  try {
    const options = { timeZone: timezone, timeZoneName: "longOffset" } as const;
    const parts = new Intl.DateTimeFormat("en", options).formatToParts(at);
    const name = parts.find(({ type }) => type === "timeZoneName")?.value ?? "";
    const [, sign = "+", hours = "0", minutes = "0"] = /GMT([+-])(\d\d):(\d\d)/.exec(name) ?? [];
    return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
  } catch {
    throw new UsageError(`--timezone: "${timezone}" is none; write it like Europe/Berlin`);
  }
}

async function named(input: Input, io: Io): Promise<string> {
  const { schedules } = await administer(input, io, "schedule.list", {});
  return idOf(input.args[0] ?? "", schedules, "schedule", ({ schedule_id }) => schedule_id);
}

function tell(input: Input, io: Io, answer: unknown, text: string): void {
  if (input.on("json")) outJson(io, answer);
  else io.out(text);
}

function momentOf(timestamp: number | undefined): string {
  return timestamp === undefined ? "no time" : new Date(timestamp).toISOString().replace(/:00\.000Z$/, "Z");
}

function tableOf(schedules: readonly Schedule[]): string[] {
  return table(
    ["id", "name", "user", "when", "next", "last"],
    schedules.map(({ schedule_id, name, owner, cron, at, timezone, next_at, last, ...schedule }) => [
      schedule_id,
      name === "" ? "-" : name,
      owner,
      cron === undefined ? momentOf(at) : `${cron} ${timezone}`,
      stateOf(schedule) === "on" ? momentOf(next_at) : stateOf(schedule),
      last === undefined ? "-" : `${last.status}${last.reason === undefined ? "" : ` (${last.reason})`}`,
    ]),
  );
}
