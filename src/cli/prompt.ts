import { createInterface } from "node:readline/promises";
import { CommandError } from "./exit.ts";

/** A question at the terminal; an empty line takes what is proposed. */
export async function question(text: string, proposed = ""): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const left = new AbortController();
  terminal.on("SIGINT", () => left.abort());
  terminal.on("close", () => left.abort());
  try {
    const hint = proposed === "" ? "" : ` [${proposed}]`;
    return (await terminal.question(`${text}${hint}: `, { signal: left.signal })).trim() || proposed;
  } catch (error) {
    throw left.signal.aborted ? new CommandError("left before anything was written") : error;
  } finally {
    terminal.close();
  }
}

/** A question whose answer is not shown. */
export async function secret(text: string): Promise<string> {
  const { stdin, stdout } = process;
  // Before the question is seen: what is typed from then on is not shown.
  stdin.setRawMode(true);
  stdin.setEncoding("utf8");
  stdin.resume();
  stdout.write(`${text}: `);
  try {
    return await new Promise<string>((resolve, reject) => {
      let typed = "";
      stdin.on("data", function take(chunk: string) {
        for (const key of chunk) {
          if (key === "\r" || key === "\n") {
            stdin.off("data", take);
            return resolve(typed.trim());
          }
          if (key === "\u0003" || key === "\u0004") {
            stdin.off("data", take);
            return reject(new CommandError("left before anything was written"));
          }
          typed = key === "\u007f" || key === "\b" ? typed.slice(0, -1) : typed + key;
        }
        return undefined;
      });
    });
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stdout.write("\n");
  }
}
