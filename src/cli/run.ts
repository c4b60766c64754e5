import type { Command } from "./args.ts";
import { parseInput } from "./args.ts";
import { commands } from "./commands.ts";
import { UsageError, exitCodeOf } from "./exit.ts";
import { commandHelp, groupHelp, overview } from "./help.ts";
import type { Io } from "./io.ts";
import { explain } from "./explain.ts";
import { closest } from "../config/closest.ts";

const HELP: ReadonlySet<string> = new Set(["help", "--help", "-h"]);
const VERSION: ReadonlySet<string> = new Set(["--version", "-V"]);

/** Runs what the arguments ask for; resolves with the exit code. Never rejects. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    const [first = "serve", ...rest] = argv;
    if (VERSION.has(first)) return await runCommand(["version", ...rest], io);
    if (!HELP.has(first)) return await runCommand(argv, io);
    const asked = rest.filter((word) => !HELP.has(word));
    if (asked.length > 0) return await runCommand([...asked, "--help"], io);
    io.out(overview(commands));
    return 0;
  } catch (error) {
    io.err(`agentbus: ${explain(error)}`);
    return exitCodeOf(error);
  }
}

async function runCommand(argv: readonly string[], io: Io): Promise<number> {
  const found = find(argv);
  if ("group" in found) {
    io.out(groupHelp(found.group, members(found.group)));
    return 0;
  }
  const input = parseInput(found.command, found.rest);
  if (!input.help) return found.command.run(input, io);
  io.out(commandHelp(found.command));
  return 0;
}

type Found = { readonly command: Command; readonly rest: readonly string[] } | { readonly group: string };

/** @throws UsageError for what is no command. */
function find(argv: readonly string[]): Found {
  const [first = "", second = "", ...rest] = argv;
  const named = (name: string) => commands.find((command) => command.name === name);
  if (first === "" || first.startsWith("-")) {
    const serve = named("serve");
    if (serve !== undefined) return { command: serve, rest: argv };
  }
  const pair = named(`${first} ${second}`);
  if (pair !== undefined) return { command: pair, rest };
  const single = named(first);
  if (single !== undefined) return { command: single, rest: argv.slice(1) };
  const group = members(first).map(({ name }) => name.slice(first.length + 1));
  if (group.length === 0) throw unknown(`no command "${first}"`, first, heads(), "");
  if (HELP.has(second)) return { group: first };
  if (second === "" || second.startsWith("-")) {
    throw new UsageError(`${first} needs one of ${group.join(", ")} (agentbus ${first} --help tells more)`);
  }
  throw unknown(`no command "${first} ${second}"`, second, group, `${first} `);
}

function unknown(what: string, given: string, known: readonly string[], prefix: string): UsageError {
  const near = closest(given, known);
  const hint = near === null ? "" : `; did you mean ${prefix}${near}?`;
  return new UsageError(`${what}${hint} (agentbus ${prefix}--help lists them)`);
}

function members(group: string): Command[] {
  return commands.filter(({ name }) => name.startsWith(`${group} `));
}

/** First words of all commands. */
function heads(): string[] {
  return [...new Set(commands.map(({ name }) => name.split(" ")[0] ?? name))];
}
