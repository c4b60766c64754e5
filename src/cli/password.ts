import { passwordHash } from "../access.ts";
import type { Command } from "./args.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson, readStdin } from "./io.ts";
import { secret } from "./prompt.ts";

const MAX_CHARS = 1_024;
const SHORT_CHARS = 12;

export const password: Command = {
  name: "password",
  summary: "the hash of a password, for auth.password_hash",
  usage: "",
  details: "Asks for it twice; without a terminal it reads one line from stdin. Nothing is written or sent.",
  args: [0, 0],
  options: { json: { summary: "as JSON" } },
  run: async (input, io) => {
    const text = await readPassword(io);
    if (text.length < SHORT_CHARS) {
      io.err(`warning: a password of ${text.length} characters can be guessed: use ${SHORT_CHARS} or more`);
    }
    const password_hash = await passwordHash(text);
    if (input.on("json")) {
      outJson(io, { password_hash });
      return EXIT.ok;
    }
    io.out(password_hash);
    io.err(`\nIn agentbus.toml:\n\n[auth]\nmode = "password"\npassword_hash = "${password_hash}"`);
    return EXIT.ok;
  },
};

/** @throws CommandError where it is none that could be used to log in */
async function readPassword(io: Io): Promise<string> {
  const text = io.stdin.isTTY === true ? await askTwice(io) : onlyLine(await readStdin(io));
  if (text === "") throw new CommandError("the password is empty: choose one");
  if (text.length > MAX_CHARS) throw new CommandError(`a password has ${MAX_CHARS} characters at most`);
  if (text !== text.trim()) {
    throw new CommandError("a password neither begins nor ends with white space: choose another");
  }
  return text;
}

async function askTwice(io: Io): Promise<string> {
  // The questions go where the answer goes.
  if (!io.tty) throw new UsageError("password asks at a terminal: pipe the password in to pipe the hash out");
  const text = await hidden("Password");
  if (text === (await hidden("Once more"))) return text;
  throw new CommandError("the two differ: try again");
}

function hidden(text: string): Promise<string> {
  // Before the question is there: who types at once must not see it either.
  process.stdin.setRawMode(true);
  return secret(text);
}

function onlyLine(text: string): string {
  const line = text.replace(/\r?\n$/, "");
  if (!/[\r\n]/.test(line)) return line;
  throw new CommandError("a password is one line: more came from stdin");
}
