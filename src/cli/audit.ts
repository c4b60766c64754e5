import type { ResultFor } from "../client/methods.ts";
import { administer } from "./administer.ts";
import type { Command, Input } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { pause } from "./pause.ts";
import { parseSince } from "./since.ts";
import { moment, table } from "./table.ts";
import { TARGET_OPTIONS } from "./target.ts";

type Entry = ResultFor<"audit.list">["entries"][number];

const PAGE = 200;
const ENTRIES = 50;
const FOLLOW_MS = 1_000;

export const audit: Command = {
  name: "audit",
  summary: "who did what, from where, and what came of it",
  usage: "",
  details:
    "Logins, tokens, shares, deletions and changes of the configuration; the newest last. With none running it reads the store itself.",
  args: [0, 0],
  options: {
    user: { value: "USER", summary: "what this user did" },
    action: { value: "ACTION", summary: "as in token.revoke; token finds all of them" },
    outcome: { value: "OUTCOME", summary: "ok, refused, or the code of an error" },
    since: { value: "TIME", summary: "15m, 1h, 7d, or a date" },
    limit: { value: "N", summary: `how many entries; default: ${ENTRIES}` },
    follow: { short: "f", summary: "go on with what comes, until Ctrl-C" },
    json: { summary: "one JSON object per line" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    const filter = filterOf(input);
    const seen = await read(input, io, filter, limitOf(input));
    show(seen, input, io, true);
    if (input.on("follow")) await follow(input, io, filter, seen);
    return EXIT.ok;
  },
};

function filterOf(input: Input): Record<string, unknown> {
  const filter: Record<string, unknown> = {};
  for (const name of ["user", "action", "outcome"]) {
    const value = input.text(name);
    if (value !== undefined) filter[name] = value;
  }
  const since = input.text("since");
  return since === undefined ? filter : { ...filter, since: parseSince(since, Date.now()) };
}

function limitOf(input: Input): number {
  const text = input.text("limit") ?? String(ENTRIES);
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new UsageError(`--limit takes a number above 0, not "${text}"`);
  return Number(text);
}

/** The newest `limit` entries, oldest first. */
async function read(input: Input, io: Io, filter: Record<string, unknown>, limit: number): Promise<Entry[]> {
  const entries: Entry[] = [];
  let cursor: string | undefined;
  do {
    const page = { limit: Math.min(PAGE, limit - entries.length), ...(cursor !== undefined && { cursor }) };
    const { entries: more, next } = await administer(input, io, "audit.list", { ...filter, ...page });
    entries.push(...more);
    cursor = next;
  } while (cursor !== undefined && entries.length < limit);
  return entries.toReversed();
}

/** Asks again and again for what is newer than the last entry. Until Ctrl-C. */
async function follow(
  input: Input,
  io: Io,
  filter: Record<string, unknown>,
  seen: readonly Entry[],
): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  let last = Number(seen.at(-1)?.audit_id ?? 0);
  while (!stop.signal.aborted) {
    await pause(FOLLOW_MS, stop.signal).catch(() => undefined);
    if (stop.signal.aborted) return;
    const fresh = (await read(input, io, filter, PAGE)).filter(({ audit_id }) => Number(audit_id) > last);
    last = Number(fresh.at(-1)?.audit_id ?? last);
    show(fresh, input, io, false);
  }
}

function show(entries: readonly Entry[], input: Input, io: Io, head: boolean): void {
  if (input.on("json")) for (const entry of entries) outJson({ ...io, tty: false }, entry);
  else for (const line of lines(entries).slice(head ? 0 : 1)) io.out(line);
}

function lines(entries: readonly Entry[]): string[] {
  const rows = entries.map(({ ts, user, method, remote, transport, client_id, ...entry }) => [
    moment(ts),
    user === "" ? "-" : user,
    entry.action,
    entry.count > 1 ? `${entry.outcome} ×${entry.count}` : entry.outcome,
    [...new Set([remote, transport, method, client_id])].filter((each) => each !== "").join(" "),
    [entry.target ?? "", entry.details === undefined ? "" : JSON.stringify(entry.details)]
      .filter((each) => each !== "")
      .join(" "),
  ]);
  return table(["time", "who", "what", "outcome", "from", "about"], rows);
}
