import type { Input } from "./args.ts";
import { UsageError } from "./exit.ts";

/** What --enable and --disable of an update say; neither says nothing. @throws UsageError where both are given */
export function enabledOf(input: Input, command: string): { enabled?: boolean } {
  const [on, off] = [input.on("enable"), input.on("disable")];
  if (on && off) throw new UsageError(`${command}: --enable or --disable`);
  return on || off ? { enabled: on } : {};
}

/** Whether anything of it is done, and why not. */
export function stateOf({ enabled, suspended }: { enabled: boolean; suspended?: string }): string {
  if (!enabled) return "off";
  return suspended === undefined ? "on" : `suspended: ${suspended}`;
}

/**
 * The id of what is called so. Names are easier to remember; what is no name of one is taken for an id.
 * @throws UsageError where several have the name
 */
export function idOf<T extends { readonly name: string | null }>(
  said: string,
  all: readonly T[],
  noun: string,
  id: (one: T) => string,
): string {
  const named = all.filter(({ name }) => name === said);
  if (named.length > 1) throw new UsageError(`${named.length} ${noun}s are called ${said}: say its id`);
  return named[0] === undefined ? said : id(named[0]);
}
