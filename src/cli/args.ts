import { parseArgs } from "node:util";
import { UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { closest } from "../config/closest.ts";

/** A flag: with `value` (what the help calls it) it takes one, without it is a switch. */
export interface OptionSpec {
  readonly value?: string;
  readonly short?: string;
  /** It may be given several times; of any other the last one counts. */
  readonly many?: true;
  readonly summary: string;
}
export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

export interface Command {
  /** One word, or two for a command of a group: "token create". */
  readonly name: string;
  readonly summary: string;
  /** What comes after the name, flags aside. */
  readonly usage: string;
  /** What the summary has no room for. */
  readonly details?: string;
  /** How many arguments it takes beside the flags. */
  readonly args: readonly [min: number, max: number];
  readonly options: OptionSpecs;
  /** Resolves with the exit code. */
  readonly run: (input: Input, io: Io) => Promise<number>;
}

/** A command's arguments, checked against its table. */
export interface Input {
  readonly args: readonly string[];
  text(option: string): string | undefined;
  /** Every value, in the order they were given. */
  texts(option: string): readonly string[];
  on(option: string): boolean;
}

const HELP: OptionSpec = { short: "h", summary: "this text" };

/** @throws UsageError naming the flag, and the one that was probably meant. */
export function parseInput(command: Command, argv: readonly string[]): Input & { readonly help: boolean } {
  const specs: OptionSpecs = { ...command.options, help: HELP };
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, { value, short }]) => [
      name,
      {
        type: value === undefined ? ("boolean" as const) : ("string" as const),
        ...(short !== undefined && { short }),
      },
    ]),
  );
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values = new Map<string, string[]>();
  const switches = new Set<string>();
  const args: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") args.push(token.value);
    if (token.kind !== "option") continue;
    const spec = specs[token.name];
    if (spec === undefined) throw unknownOption(command, token.rawName, Object.keys(specs));
    if (spec.value === undefined) {
      if (token.value !== undefined) throw misused(command, `${token.rawName} takes no value`);
      switches.add(token.name);
    } else {
      if (token.value === undefined || token.value === "")
        throw misused(command, `${token.rawName} needs ${spec.value}`);
      values.set(token.name, [...(values.get(token.name) ?? []), token.value]);
    }
  }
  const help = switches.has("help");
  if (!help) checkArgs(command, args);
  const texts = (option: string): readonly string[] => values.get(option) ?? [];
  return { args, help, texts, text: (option) => texts(option).at(-1), on: (option) => switches.has(option) };
}

function checkArgs({ name, usage, args: [min, max] }: Command, args: readonly string[]): void {
  const call = `agentbus ${name} ${usage}`.trimEnd();
  if (args.length < min) throw new UsageError(`${name} needs more: ${call}`);
  if (args.length > max) throw new UsageError(`${name} does not take "${args[max]}": ${call}`);
}

function unknownOption({ name }: Command, raw: string, known: readonly string[]): UsageError {
  const near = closest(raw.replace(/^-+/, ""), known);
  const hint = near === null ? "" : `; did you mean --${near}?`;
  return new UsageError(`${name} has no flag ${raw}${hint} (agentbus ${name} --help lists them)`);
}

function misused({ name }: Command, what: string): UsageError {
  return new UsageError(`${name}: ${what} (agentbus ${name} --help tells more)`);
}
