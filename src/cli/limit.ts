import type { Input } from "./args.ts";
import { UsageError } from "./exit.ts";

/** What `--limit` says. @throws UsageError */
export function limitOf(input: Input, usual: number): number {
  const text = input.text("limit") ?? String(usual);
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new UsageError(`--limit takes a number above 0, not "${text}"`);
  return Number(text);
}
