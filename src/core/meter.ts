import type { Usage } from "../protocol/entities.ts";

/** A call of a model, as its provider told of it. */
export interface ModelCall {
  /** "provider/model": the one that was called. */
  readonly model: string;
  /** With its cost, where the model has a price; absent: the provider told none. */
  readonly usage?: Usage;
}

interface OpenCall {
  model: string;
  usage: Usage | undefined;
  /** It was answered, at least in part: then it counts although nothing is told of it. */
  said: boolean;
}

/**
 * Tells the calls of a model's stream apart: a router may make several, one after the other. One that failed before it
 * said anything, and of which no usage was told, is none.
 */
export class Meter {
  readonly calls: ModelCall[] = [];
  readonly #priced: (model: string, usage: Usage) => Usage;
  /** Null: it failed, and the next one is not known yet. */
  #open: OpenCall | null;
  #saying: OpenCall | null = null;

  /** `model`: the one that is asked first. */
  constructor(model: string, priced: (model: string, usage: Usage) => Usage) {
    this.#priced = priced;
    this.#open = { model, usage: undefined, said: false };
  }

  /** The usage of the call that said something last. */
  get usage(): Usage | undefined {
    return this.#saying?.usage;
  }

  /** Who is called now. */
  calling(model: string): void {
    if (this.#open?.model === model && this.#open.usage === undefined && !this.#open.said) return;
    this.failed();
    this.#open = { model, usage: undefined, said: false };
  }

  said(): void {
    if (this.#open === null) return;
    this.#open.said = true;
    this.#saying = this.#open;
  }

  /** What a provider tells last counts: it tells all of it. */
  told(usage: Usage): void {
    if (this.#open !== null) this.#open.usage = this.#priced(this.#open.model, usage);
  }

  /** The call is over, and another may be made in its place. */
  failed(): void {
    const call = this.#open;
    this.#open = null;
    if (call === null || (call.usage === undefined && !call.said)) return;
    const { model, usage } = call;
    this.calls.push({ model, ...(usage !== undefined && { usage }) });
  }

  /** The call is over; that nobody heard it to its end does not make it free. */
  ended(): void {
    this.said();
    this.failed();
  }
}
