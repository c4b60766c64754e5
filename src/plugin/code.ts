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

/** A plug-in that is part of the program: what it does is the program's business. */
export function ownCode(exported: unknown): Code {
  return { exported, within: (work) => work(), onFault: () => undefined, end: () => undefined };
}
