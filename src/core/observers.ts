import type { Logger } from "./ports.ts";

/** Something that happened, as code in this process hears of it: after it was committed, where there is anything to commit. */
export interface Happening {
  /** That of the event: `run.completed`, `message.delta`, `connection.joined` … */
  readonly type: string;
  /** Milliseconds since 1970. */
  readonly ts: number;
  readonly payload: Readonly<Record<string, unknown>>;
  /** The gateway's id of the session (`ses_…`); absent: it concerns none. */
  readonly session_id?: string;
  /** Whose session or connection it is. */
  readonly user?: string;
  readonly run_id?: string;
  /** Where it stands in the session's log. */
  readonly epoch?: string;
  readonly seq?: number;
}

export type Observer = (happening: Happening) => void;

/** Those in this process who want to know of everything, whoever follows it. */
export class Observers {
  readonly #log: Logger;
  readonly #byType = new Map<string, Set<Observer>>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** `type`: `*` for all of them. Called once for each, in order; what it throws is logged. The answer takes it back. */
  on(type: string, observer: Observer): () => void {
    const observers = this.#byType.get(type) ?? new Set();
    this.#byType.set(type, observers.add(observer));
    return () => {
      observers.delete(observer);
      if (observers.size === 0 && this.#byType.get(type) === observers) this.#byType.delete(type);
    };
  }

  /** `made` is only called where somebody wants to know, in the turn after this: nothing of theirs is in the way here. */
  tell(type: string, made: () => Happening): void {
    if (!this.#byType.has(type) && !this.#byType.has("*")) return;
    void Promise.resolve().then(() => this.#tell(type, made));
  }

  #tell(type: string, made: () => Happening): void {
    const happening = made();
    for (const observer of [...(this.#byType.get(type) ?? []), ...(this.#byType.get("*") ?? [])]) {
      try {
        observer(happening);
      } catch (error) {
        this.#log.error({ event: type, err: error }, "a listener of an event failed");
      }
    }
  }
}
