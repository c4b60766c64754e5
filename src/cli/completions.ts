import type { Command } from "./args.ts";
import { UsageError } from "./exit.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** Each asks the executable what the words so far may become, so that they never tell of another version's commands. */
const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], string>> = {
  bash: `_agentbus() {
  local IFS=$'\\n'
  COMPREPLY=($("\${COMP_WORDS[0]}" completions words -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [[ \${#COMPREPLY[@]} -gt 0 ]] || compopt -o default 2>/dev/null
}
complete -F _agentbus agentbus`,
  zsh: `#compdef agentbus
_agentbus() {
  local -a found
  found=("\${(@f)$("\${words[1]}" completions words -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[*]}" ]]; then compadd -- "\${found[@]}"; else _files; fi
}
compdef _agentbus agentbus`,
  fish: `function __agentbus
  set -l words (commandline -opc) (commandline -ct)
  $words[1] completions words -- $words[2..-1] 2>/dev/null
end
complete -c agentbus -a '(__agentbus)'`,
};

/** `commands`: all there are; asked when it is run. */
export function completionsCommand(commands: () => readonly Command[]): Command {
  return {
    name: "completions",
    summary: "a script that lets a shell complete commands and flags",
    usage: SHELLS.join("|"),
    details: [
      "bash: agentbus completions bash > ~/.local/share/bash-completion/completions/agentbus",
      'zsh:  agentbus completions zsh > "${fpath[1]}/_agentbus"',
      "fish: agentbus completions fish > ~/.config/fish/completions/agentbus.fish",
    ].join("\n"),
    args: [1, Number.MAX_SAFE_INTEGER],
    options: {},
    run: async ({ args: [asked = "", ...words] }, io) => {
      const shell = SHELLS.find((each) => each === asked);
      if (shell !== undefined && words.length === 0) io.out(SCRIPTS[shell]);
      else if (asked === "words") for (const word of completionsOf(words, commands())) io.out(word);
      else
        throw new UsageError(`completions knows ${SHELLS.join(", ")}, not "${[asked, ...words].join(" ")}"`);
      return 0;
    },
  };
}

/** What the last of the words may become; the words stand behind `agentbus`. */
export function completionsOf(words: readonly string[], commands: readonly Command[]): string[] {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const command = commandOf(before, commands);
  const candidates = command === null ? nextWords(before, commands) : argumentsOf(command, before, typed);
  return candidates.filter((word) => word.startsWith(typed));
}

/** The longest name counts: "token create" before a "token". */
function commandOf(before: readonly string[], commands: readonly Command[]): Command | null {
  const isNamed = ({ name }: Command): boolean =>
    name.split(" ").every((word, index) => before[index] === word);
  return commands.filter(isNamed).toSorted((a, b) => b.name.length - a.name.length)[0] ?? null;
}

function nextWords(before: readonly string[], commands: readonly Command[]): string[] {
  const paths = commands.map(({ name }) => name.split(" "));
  const fitting = paths.filter((path) => before.every((word, index) => path[index] === word));
  const next = fitting.map((path) => path[before.length]).filter((word) => word !== undefined);
  return [...new Set(before.length === 0 ? [...next, "help"] : next)].toSorted();
}

/** Flags, and what a flag or an argument that is one of a few may be. */
function argumentsOf({ name, usage, options }: Command, before: readonly string[], typed: string): string[] {
  const last = before.at(-1) ?? "";
  const value = Object.entries(options).find(
    ([flag, { short }]) => last === `--${flag}` || last === `-${short}`,
  )?.[1].value;
  if (value !== undefined) return choicesOf(value);
  if (typed.startsWith("-")) return [...Object.keys(options), "help"].map((flag) => `--${flag}`).toSorted();
  return before.length === name.split(" ").length ? choicesOf(usage) : [];
}

/** "allow|deny" are two words; "FILE" is any. */
function choicesOf(usage: string): string[] {
  const choices = usage.replaceAll(/[[\]]/g, "").split("|");
  return choices.every((word) => /^[a-z0-9-]+$/.test(word)) ? choices : [];
}
