import type { World } from "./conformance-world.ts";

/** One thing a server, or what stands before one, has to do. */
export interface Check {
  /** "area.what". */
  readonly name: string;
  readonly expects: string;
  /** What was seen, where it is as expected. @throws Deviation, Skipped */
  readonly run: (world: World) => Promise<string>;
}

/** What was seen is not what is expected. */
export class Deviation extends Error {}
/** It cannot be told here. */
export class Skipped extends Error {}

/** @throws Deviation that says what was seen */
export function expectThat(holds: boolean, seen: string): asserts holds {
  if (!holds) throw new Deviation(seen);
}
