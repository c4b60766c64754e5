import type { ParamsFor, ResultFor } from "../client/methods.ts";
import { administer } from "./administer.ts";
import type { Command, Input } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { parseSince } from "./since.ts";
import { table } from "./table.ts";
import { TARGET_OPTIONS } from "./target.ts";

type Params = ParamsFor<"usage.get">;
type Answer = ResultFor<"usage.get">;
type Amounts = Answer["total"];

const GROUPINGS = ["day", "model", "user", "session"] as const;
type Grouping = (typeof GROUPINGS)[number];
const GROUPS = 100;

export const usage: Command = {
  name: "usage",
  summary: "what models were used for: tokens and cost",
  usage: "",
  details:
    "Your own, by day, unless flags say otherwise. Days are those of UTC. With no gateway running it reads the store itself.",
  args: [0, 0],
  options: {
    by: { value: "WHAT", summary: "day, model, session, or user, which tells everybody's; default: day" },
    since: { value: "TIME", summary: "7d, or a date; from that day on" },
    until: { value: "TIME", summary: "up to that day" },
    all: { summary: "everybody's, with the scope system.read" },
    user: { value: "USER", summary: "this user's, with the same scope" },
    session: { value: "SESSION", summary: "what was used in this session, by whomever" },
    limit: { value: "N", summary: `how many lines; default: ${GROUPS}` },
    json: { summary: "the answer as JSON" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    const by = groupingOf(input);
    const answer = await administer(input, io, "usage.get", paramsOf(input, by));
    if (input.on("json")) outJson({ ...io, tty: false }, answer);
    else show(answer, by, io);
    return EXIT.ok;
  },
};

function groupingOf(input: Input): Grouping {
  const by = input.text("by") ?? "day";
  const known = GROUPINGS.find((each) => each === by);
  if (known === undefined) throw new UsageError(`usage --by takes ${GROUPINGS.join(", ")}, not "${by}"`);
  return known;
}

function paramsOf(input: Input, by: Grouping): Params {
  const [user, session_id, limit] = [input.text("user"), input.text("session"), input.text("limit")];
  const day = (flag: "since" | "until"): string | undefined => {
    const text = input.text(flag);
    return text && new Date(parseSince(text, Date.now())).toISOString().slice(0, 10);
  };
  const [since, until] = [day("since"), day("until")];
  if (limit !== undefined && !/^[1-9]\d{0,2}$/.test(limit))
    throw new UsageError(`--limit takes a number from 1 to 500, not "${limit}"`);
  return {
    by,
    ...(input.on("all") && by !== "user" && { everybody: true }),
    ...(user !== undefined && { user }),
    ...(session_id !== undefined && { session_id }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
    limit: Number(limit ?? GROUPS),
  };
}

function show({ groups = [], total, currency, more, budgets = [] }: Answer, by: Grouping, io: Io): void {
  const names = [by, "calls", "input", "cached", "output", "reasoning", `cost ${currency}`];
  const rows = groups.map((group) => [group[by === "session" ? "session_id" : by] ?? "", ...columns(group)]);
  for (const line of table(names, [...rows, ["total", ...columns(total)]])) io.out(line);
  if (more === true) io.out(`there is more: --limit tells more than ${groups.length} lines`);
  const { unknown_calls, unpriced_calls } = total;
  if (unknown_calls > 0) io.out(`${unknown_calls} of the calls told no usage; they are in no other column`);
  if (unpriced_calls > 0) io.out(`${unpriced_calls} of the calls had no price; they are not in the cost`);
  for (const { what, limit, spent, resets_at } of budgets) {
    const amount = (value: number): string =>
      what.endsWith("cost") ? `${money(value)} ${currency}` : `${value}`;
    const day = new Date(resets_at).toISOString().slice(0, 10);
    io.out(`budgets.${what}: ${amount(spent)} of ${amount(limit)}, until ${day}`);
  }
}

function columns(amounts: Amounts): string[] {
  const { calls, input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost } = amounts;
  const counted = [calls, input_tokens, cached_tokens, output_tokens, reasoning_tokens].map(String);
  return [...counted, cost === undefined ? "-" : money(cost)];
}

/** Of 1e-9, all digits that are not nothing, two at the least. */
function money(nanos: number): string {
  const digits = String(nanos).padStart(10, "0");
  return `${digits.slice(0, -9)}.${digits.slice(-9).replace(/0{1,7}$/, "")}`;
}
