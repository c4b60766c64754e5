import type { Logger } from "../core/ports.ts";
import { Stage } from "./stage.ts";

/**
 * Errors that nobody was to be told of: promises nobody waited for, timers. Those of a plug-in end the plug-in, not the
 * process; those of the gateway end it, as without plug-ins. In place while `install`ed, in the whole process.
 */
export class Strays {
  readonly #log: Logger;
  readonly #stages = new Set<Stage>();
  #isInstalled = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** From here on errors in its code are its own. */
  add(stage: Stage): void {
    this.#stages.add(stage);
    if (this.#isInstalled) return;
    this.#isInstalled = true;
    process.on("unhandledRejection", this.#onRejection);
    process.on("uncaughtException", this.#onException);
  }

  remove(stage: Stage): void {
    this.#stages.delete(stage);
  }

  /** Idempotent. */
  uninstall(): void {
    if (!this.#isInstalled) return;
    this.#isInstalled = false;
    process.off("unhandledRejection", this.#onRejection);
    process.off("uncaughtException", this.#onException);
  }

  readonly #onRejection = (cause: unknown): void => {
    this.#take("unhandledRejection", "a promise that nobody waited for", cause);
  };
  readonly #onException = (cause: unknown): void => {
    this.#take("uncaughtException", "a callback", cause);
  };

  #take(event: "unhandledRejection" | "uncaughtException", what: string, cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    const stack = cause instanceof Error ? (cause.stack ?? "") : "";
    const stage = Stage.playing() ?? [...this.#stages].find((each) => each.isIn(stack));
    if (stage !== undefined) return stage.faults.add(what, error);
    // The gateway rejects with errors of its own, which say where they were made; what says nothing came from others.
    if (!stack.includes("\n    at ")) {
      const plugins = [...this.#stages].map(({ about }) => about.name);
      return this.#log.error(
        { err: error, plugins },
        "something failed that nobody waited for, in one of the plug-ins",
      );
    }
    // Somebody else looks after these, too.
    if (process.listenerCount(event) > 1) return undefined;
    this.#log.error({ err: error }, "something failed that nobody waited for: the process ends");
    process.exit(1);
  }
}
