import type { Logger } from "../core/ports.ts";
import { Stage } from "./stage.ts";

type StrayEvent = "unhandledRejection" | "uncaughtException";

/** Those in place, one for each gateway of this process: the process tells all of them at once. */
const installed = new Set<Strays>();

/**
 * Errors that nobody was to be told of: promises nobody waited for, timers. Those of a plug-in end the plug-in, not the
 * process; those of the gateway end it, as without plug-ins. In place while `install`ed, in the whole process.
 */
export class Strays {
  readonly log: Logger;
  readonly #stages = new Set<Stage>();

  constructor(log: Logger) {
    this.log = log;
  }

  get stages(): ReadonlySet<Stage> {
    return this.#stages;
  }

  /** From here on errors in its code are its own. */
  add(stage: Stage): void {
    this.#stages.add(stage);
    if (installed.size === 0) {
      process.on("unhandledRejection", onRejection);
      process.on("uncaughtException", onException);
    }
    installed.add(this);
  }

  remove(stage: Stage): void {
    this.#stages.delete(stage);
  }

  /** Idempotent. */
  uninstall(): void {
    if (!installed.delete(this) || installed.size > 0) return;
    process.off("unhandledRejection", onRejection);
    process.off("uncaughtException", onException);
  }
}

function onRejection(cause: unknown): void {
  take("unhandledRejection", "a promise that nobody waited for", cause);
}

function onException(cause: unknown): void {
  take("uncaughtException", "a callback", cause);
}

function take(event: StrayEvent, what: string, cause: unknown): void {
  const error = cause instanceof Error ? cause : new Error(String(cause));
  const stack = cause instanceof Error ? (cause.stack ?? "") : "";
  const stages = [...installed].flatMap((each) => [...each.stages]);
  const stage = Stage.playing() ?? stages.find((each) => each.isIn(stack));
  if (stage !== undefined) return stage.faults.add(what, error);
  // The gateway rejects with errors of its own, which say where they were made; what says nothing came from others.
  if (!stack.includes("\n    at ")) {
    const plugins = stages.map(({ about }) => about.name);
    return tell({ err: error, plugins }, "something failed that nobody waited for, in one of the plug-ins");
  }
  // Somebody else looks after these, too.
  if (process.listenerCount(event) > 1) return undefined;
  tell({ err: error }, "something failed that nobody waited for: the process ends");
  process.exit(1);
}

/** Whose it is cannot be told: each of the gateways says so. */
function tell(fields: Record<string, unknown>, message: string): void {
  for (const { log } of installed) log.error(fields, message);
}
