import type { Command, OptionSpecs } from "./args.ts";

const WIDTH = 28;

/** The overview: every command with its summary. */
export function overview(commands: readonly Command[]): string {
  const lines = commands.map(({ name, usage, summary }) => row(`${name} ${usage}`.trimEnd(), summary));
  return [
    "agentbus: one executable between your clients and your language models",
    "",
    "usage: agentbus [COMMAND] [FLAGS]     without a command: serve",
    "",
    ...lines,
    "",
    "agentbus COMMAND --help tells more of each.",
    "exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 cannot reach the gateway, 4 not authorised",
  ].join("\n");
}

/** The commands of a group ("token"). */
export function groupHelp(group: string, commands: readonly Command[]): string {
  const lines = commands.map(({ name, usage, summary }) => row(`${name} ${usage}`.trimEnd(), summary));
  return [`usage: agentbus ${group} COMMAND [FLAGS]`, "", ...lines].join("\n");
}

export function commandHelp(command: Command): string {
  const { name, usage, summary, details, options } = command;
  const lines = [`usage: agentbus ${name} ${usage}`.trimEnd() + " [FLAGS]", "", summary];
  if (details !== undefined) lines.push("", details);
  return [...lines, "", ...optionLines(options)].join("\n");
}

function optionLines(options: OptionSpecs): string[] {
  const lines = Object.entries(options).map(([name, { value, short, many, summary }]) => {
    const long = `--${name}${value === undefined ? "" : ` ${value}`}`;
    const told = many === undefined ? summary : `${summary}; may be given several times`;
    return row(short === undefined ? long : `-${short}, ${long}`, told);
  });
  return [...lines, row("-h, --help", "this text")];
}

function row(left: string, right: string): string {
  return left.length > WIDTH
    ? `  ${left}\n  ${"".padEnd(WIDTH)}  ${right}`
    : `  ${left.padEnd(WIDTH)}  ${right}`;
}
