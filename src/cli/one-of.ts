import { UsageError } from "./exit.ts";

/** One of the words a flag takes. @throws UsageError that lists them */
export function oneOf<T extends string>(flag: string, said: string, words: readonly T[]): T {
  const found = words.find((word) => word === said.toLowerCase());
  if (found !== undefined) return found;
  throw new UsageError(`${flag} is one of ${words.join(", ")}, not "${said}"`);
}
