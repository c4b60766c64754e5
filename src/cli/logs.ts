import type { ParamsFor, ResultFor } from "../client/methods.ts";
import type { Command, Input } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { escaped, outJson } from "./io.ts";
import { limitOf } from "./limit.ts";
import { pause } from "./pause.ts";
import { moment } from "./table.ts";
import { connectTo, findTarget, TARGET_OPTIONS } from "./target.ts";

type Page = ResultFor<"log.tail">;
type Line = Page["lines"][number];
type Filter = Pick<ParamsFor<"log.tail">, "level" | "component">;

const LEVELS = ["debug", "info", "warn", "error"] as const;
const LINES = 50;
const PAGE = 500;
const FOLLOW_MS = 1_000;

export const logs: Command = {
  name: "logs",
  summary: "the newest lines of the gateway's log",
  usage: "",
  details: "What the gateway writes, as it writes it: secrets are masked. It keeps the last 2,000 lines.",
  args: [0, 0],
  options: {
    level: { value: "LEVEL", summary: `at least this one: ${LEVELS.join(", ")}` },
    component: { value: "NAME", summary: "only of this part" },
    limit: { value: "N", summary: `how many lines; default: ${LINES}` },
    follow: { short: "f", summary: "go on with what comes, until Ctrl-C" },
    json: { summary: "one JSON object per line" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    const filter = filterOf(input);
    const limit = Math.min(PAGE, limitOf(input, LINES));
    const client = await connectTo(findTarget(input, io));
    const stop = new AbortController();
    process.once("SIGINT", () => stop.abort());
    process.once("SIGTERM", () => stop.abort());
    try {
      let page: Page = await client.request("log.tail", { ...filter, limit });
      show(page, input, io);
      while (input.on("follow")) {
        await pause(FOLLOW_MS, stop.signal);
        page = await client.request("log.tail", { ...filter, limit: PAGE, after: page.next });
        show(page, input, io);
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    } finally {
      client.disconnect();
    }
    return EXIT.ok;
  },
};

function filterOf(input: Input): Filter {
  const [level, component] = [input.text("level"), input.text("component")];
  const known = LEVELS.find((each) => each === level);
  if (level !== undefined && known === undefined)
    throw new UsageError(`--level: there are ${LEVELS.join(", ")}`);
  return {
    ...(known !== undefined && { level: known }),
    ...(component !== undefined && { component }),
  };
}

function show({ lines, gap }: Page, input: Input, io: Io): void {
  if (gap) io.err("some lines are missing: more came than the gateway keeps");
  for (const line of lines) {
    if (input.on("json")) outJson({ ...io, tty: false }, line);
    else io.out(textOf(line));
  }
}

/** As JSON, and in that nothing that moves a cursor. */
function textOf({ ts, level, message, component, fields }: Line): string {
  const more = Object.keys(fields).length > 0 ? ` ${JSON.stringify(fields)}` : "";
  const part = component === undefined ? "" : ` [${component}]`;
  const said = escaped(`${JSON.stringify(message).slice(1, -1)}${more}`);
  return `${moment(ts)} ${level.padEnd(5)}${part} ${said}`;
}
