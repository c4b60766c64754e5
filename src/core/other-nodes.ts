import type { Cluster } from "./cluster.ts";
import type { Logger } from "./ports.ts";

/** How long the others have to answer: what is asked of all nodes takes no longer. */
const ANSWER_MS = 1_000;

interface Said {
  readonly kind: string;
  readonly body: unknown;
}

export interface Answers<T> {
  readonly answers: readonly { readonly node: string; readonly body: T }[];
  /** Whether every other node that lives has answered. */
  readonly isWhole: boolean;
}

/**
 * What this node says to the others that share its store, and hears from them, by kinds. Late or lost at times; where there
 * are no others nothing is said, and everybody has answered.
 */
export class OtherNodes {
  readonly #cluster: Cluster | null;
  readonly #log: Logger;
  readonly #handlers = new Map<string, (body: unknown) => unknown>();
  #unlisten: () => void = () => undefined;

  constructor(cluster: Cluster | undefined, log: Logger) {
    this.#cluster = cluster ?? null;
    this.#log = log;
  }

  /** What people call this node; null: no other one can share its store. */
  get name(): string | null {
    return this.#cluster?.name() ?? null;
  }

  /** What is done when another node says it, and the answer, as JSON, where it asks. Before `start`. */
  on<T>(kind: string, handler: (body: T) => unknown): void {
    if (this.#handlers.has(kind)) throw new Error(`two handlers for ${kind}`);
    this.#handlers.set(kind, handler as (body: unknown) => unknown);
  }

  /** Once the store is open. */
  start(): void {
    if (this.#cluster === null) return;
    const { peers } = this.#cluster;
    const unlisten = [
      peers.onTold((said) => void this.#told(said)),
      peers.onAsked((said) => this.#hear(said)),
    ];
    this.#unlisten = () => {
      for (const each of unlisten) each();
    };
  }

  close(): void {
    this.#unlisten();
  }

  /** Never throws. */
  tell(kind: string, body: unknown): void {
    this.#cluster?.peers.tell({ kind, body } satisfies Said);
  }

  /** Never rejects. */
  async ask<T>(kind: string, body: unknown): Promise<Answers<T>> {
    if (this.#cluster === null) return { answers: [], isWhole: true };
    const { answers, missing } = await this.#cluster.peers.ask({ kind, body } satisfies Said, ANSWER_MS);
    if (missing.length > 0) this.#log.debug({ kind, missing }, "nodes did not answer in time");
    return {
      // One that begins, or is of another version, has nothing to say.
      answers: answers.flatMap(({ node, body: said }) => (said === null ? [] : { node, body: said as T })),
      isWhole: missing.length === 0,
    };
  }

  async #told(said: unknown): Promise<void> {
    try {
      await this.#hear(said);
    } catch (error) {
      this.#log.warn({ err: error }, "what another node says could not be done");
    }
  }

  #hear(said: unknown): unknown {
    const { kind, body } = said as Said;
    return this.#handlers.get(kind)?.(body) ?? null;
  }
}
