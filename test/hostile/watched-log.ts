import type { LogLine } from "../support/gateway-process.ts";

/** What the gateway gives out as a token, a login or a ticket, whoever's it is. */
const SECRET = /\bag[a-z]_[A-Za-z0-9_-]{43}/;

/** Everything a gateway says while it is attacked. */
export interface WatchedLog {
  /** Takes a line. */
  readonly heard: (line: LogLine) => void;
  /** From now on no line may hold this text; the text. */
  secret(text: string): string;
  /** @throws where a line that came since the last check holds a secret, is an error nobody expects, or no line of the logger */
  check(): void;
  /** The same for every line there ever was: a secret may have been told of after it was said. */
  checkAll(): void;
}

/** `errors`: beginnings of errors that the attacks are meant to bring about. */
export function watchLog(errors: readonly string[]): WatchedLog {
  const lines: LogLine[] = [];
  const secrets = new Map<string, readonly string[]>();
  let checked = 0;

  function checkFrom(first: number): void {
    checked = lines.length;
    const said = lines.slice(first, checked);
    const text = said.map((line) => JSON.stringify(line)).join("\n");
    const leaked = [...secrets].find(([, forms]) => forms.some((form) => text.includes(form)));
    const found = leaked?.[0] ?? SECRET.exec(text)?.[0];
    if (found !== undefined) throw new Error(`a secret stands in the log: ${found}`);
    for (const line of said) {
      const { level, msg } = line;
      if (level === "error" || level === "fatal" || level === undefined) {
        if (!errors.some((error) => msg.startsWith(error)))
          throw new Error(`in the log: ${JSON.stringify(line)}`);
      }
    }
  }
  return {
    heard: (line) => void lines.push(line),
    secret(text) {
      secrets.set(text, formsOf(text));
      return text;
    },
    check: () => checkFrom(checked),
    checkAll: () => checkFrom(0),
  };
}

/** A secret as it is, as a JSON string has it, as a URL has it, and as Basic has it. */
function formsOf(text: string): readonly string[] {
  const bytes = Buffer.from(`gateway:${text}`);
  return [text, JSON.stringify(text).slice(1, -1), encodeURIComponent(text), bytes.toString("base64")];
}
