import type { Command } from "./args.ts";
import { since } from "./ago.ts";
import { EXIT } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { bold, dim } from "./style.ts";
import { visible } from "./table.ts";
import { TARGET_OPTIONS, connectTo, findTarget } from "./target.ts";
import { limitOf } from "./limit.ts";

const LIMIT = 20;
const PAGE = 100;
/** Pages that are asked for until there are enough. */
const MAX_PAGES = 20;

export const search: Command = {
  name: "search",
  summary: "what was said in your sessions",
  usage: "WORDS...",
  details: 'Finds messages with all the words, newest first; words in "quotes" stand together.',
  args: [1, 50],
  options: {
    session: { value: "ID", short: "s", summary: "only in this session" },
    limit: { value: "N", summary: `at most so many; default: ${LIMIT}` },
    json: { summary: "what was found as JSON" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    const limit = limitOf(input, LIMIT);
    const session_id = input.text("session");
    const params = {
      query: input.args.join(" "),
      limit: Math.min(limit, PAGE),
      ...(session_id !== undefined && { session_id }),
    };
    const client = await connectTo(findTarget(input, io), { client_name: "agentbus search" });
    try {
      let { results, next } = await client.request("session.search", params);
      for (let page = 1; results.length < limit && next !== undefined && page < MAX_PAGES; page++) {
        const more = await client.request("session.search", { ...params, cursor: next });
        results = [...results, ...more.results].slice(0, limit);
        next = more.next;
      }
      if (input.on("json")) outJson(io, results);
      else if (results.length === 0) io.err("agentbus: nothing was found");
      else for (const found of results) show(found, io);
      return results.length === 0 ? EXIT.failed : EXIT.ok;
    } finally {
      client.disconnect();
    }
  },
};

interface Found {
  readonly session_id: string;
  readonly title: string;
  readonly role: string;
  readonly timestamp: number;
  readonly snippet: string;
  readonly matches: readonly { readonly off: number; readonly length: number }[];
}

function show({ session_id, title, role, timestamp, snippet, matches }: Found, io: Io): void {
  const name = title === "" ? session_id : `${title} (${session_id})`;
  io.out(dim(io, visible(`${name} · ${role} · ${since(Date.now() - timestamp)}`)));
  let text = "";
  // As long as it was, so that the places stay.
  const line = snippet.replaceAll(/\s/g, " ");
  let at = 0;
  for (const { off, length } of matches) {
    text += `${visible(line.slice(at, off))}${bold(io, visible(line.slice(off, off + length)))}`;
    at = off + length;
  }
  io.out(`  ${text}${visible(line.slice(at))}`);
}
