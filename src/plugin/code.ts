type Told = (what: string, error: Error) => void;

/** One version of a plug-in, as it was loaded: what it exports, and whose code it is that runs. */
export interface Code {
  readonly exported: unknown;
  /** Calls code of it, synchronously: answers and throws what `work` does. */
  within<T>(work: () => T): T;
  /** From here on `told` hears of what fails in it where nobody called it. @throws Error that failed before */
  onFault(told: Told): void;
  /** Nothing of it goes on by itself. Idempotent. */
  end(): void;
}

/** What failed in a plug-in where nobody called it, for whoever is to know: also where that is known only later. */
export class Faults {
  #told: Told | null = null;
  #early: Error | null = null;

  add(what: string, error: Error): void {
    if (this.#told !== null) return this.#told(what, error);
    this.#early ??= new Error(`${what}: ${error.message}`, { cause: error });
    return undefined;
  }

  /** @throws Error that was there before */
  hear(told: Told): void {
    if (this.#early !== null) throw this.#early;
    this.#told = told;
  }
}

/** Whether a plug-in says that it is to run in a worker. */
export function isolates(exported: unknown): boolean {
  return (
    typeof exported === "object" && exported !== null && "isolate" in exported && exported.isolate === true
  );
}

/**
 * A plug-in that is part of the program: what it does is the program's business. @throws Error where it is to run in a
 * worker, into which nothing that was imported already can be moved
 */
export function ownCode(exported: unknown): Code {
  if (isolates(exported)) {
    throw new Error(
      "isolate: what was imported already cannot run in a worker; put its file into a directory of plug-ins, or leave isolate out",
    );
  }
  return { exported, within: (work) => work(), onFault: () => undefined, end: () => undefined };
}
