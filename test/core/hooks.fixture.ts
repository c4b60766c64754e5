import type { HookSet } from "../../src/core/hook-set.ts";
import { silentLog } from "../support/engine.ts";
import type { FakeConnection, TestEngine } from "../support/engine.ts";

interface Owner {
  readonly failures: string[];
  readonly remove: () => Promise<void>;
}

export function hook({ engine }: TestEngine, hooks: HookSet, name = "guard"): Owner {
  const failures: string[] = [];
  const failed = (error: Error): void => void failures.push(error.message);
  return { failures, remove: engine.hooks.add({ name, log: silentLog, failed }, hooks) };
}

/** What users said, as it is in the log. */
export const texts = (scene: FakeConnection): unknown[] =>
  scene
    .events()
    .flatMap(({ event, payload }) =>
      event === "message.created" ? [(payload["message"] as { content: string }).content] : [],
    );
