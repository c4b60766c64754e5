import type { ParamsFor, ResultFor } from "../client/methods.ts";
import { administer } from "./administer.ts";
import type { Command, Input } from "./args.ts";
import { EXIT } from "./exit.ts";
import { limitOf } from "./limit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { pause } from "./pause.ts";
import { parseSince } from "./since.ts";
import { moment, table } from "./table.ts";
import { connectTo, findTarget, TARGET_OPTIONS } from "./target.ts";

type Answer = ResultFor<"audit.list">;
type Entry = Answer["entries"][number];
type Filter = Pick<ParamsFor<"audit.list">, "user" | "action" | "outcome" | "since">;
type Page = Pick<ParamsFor<"audit.list">, "limit" | "cursor">;

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
    const ask = (page: Page) => administer(input, io, "audit.list", { ...filter, ...page });
    const seen = await pages(ask, limitOf(input, ENTRIES));
    show(seen, input, io, true);
    if (input.on("follow")) await follow(input, io, filter, seen);
    return EXIT.ok;
  },
};

function filterOf(input: Input): Filter {
  const [user, action, outcome] = [input.text("user"), input.text("action"), input.text("outcome")];
  const since = input.text("since");
  return {
    ...(user !== undefined && { user }),
    ...(action !== undefined && { action }),
    ...(outcome !== undefined && { outcome }),
    ...(since !== undefined && { since: parseSince(since, Date.now()) }),
  };
}

/** The newest `limit` entries, oldest first. */
async function pages(ask: (page: Page) => Promise<Answer>, limit: number): Promise<Entry[]> {
  const entries: Entry[] = [];
  let cursor: string | undefined;
  do {
    const size = Math.min(PAGE, limit - entries.length);
    const { entries: more, next } = await ask({ limit: size, ...(cursor !== undefined && { cursor }) });
    entries.push(...more);
    cursor = next;
  } while (cursor !== undefined && entries.length < limit);
  return entries.toReversed();
}

/** Asks again and again for what is newer than the last entry. Until Ctrl-C. */
async function follow(input: Input, io: Io, filter: Filter, seen: readonly Entry[]): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  // Nothing comes to a store that no gateway has open.
  const client = await connectTo(findTarget(input, io));
  try {
    let last = Number(seen.at(-1)?.audit_id ?? 0);
    for (;;) {
      await pause(FOLLOW_MS, stop.signal);
      const newest = await pages((page) => client.request("audit.list", { ...filter, ...page }), PAGE);
      const fresh = newest.filter(({ audit_id }) => Number(audit_id) > last);
      last = Number(fresh.at(-1)?.audit_id ?? last);
      show(fresh, input, io, false);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    client.disconnect();
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
