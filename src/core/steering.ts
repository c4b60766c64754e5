/** Messages that were put into a run while it ran: on their way into the log, or there and not shown to the model yet. */
export class Steering {
  readonly #unseen = new Set<string>();
  #pending = 0;
  #waiting: (() => void)[] = [];

  get isPending(): boolean {
    return this.#pending > 0;
  }
  get isUnseen(): boolean {
    return this.#unseen.size > 0;
  }

  /** One is on its way. Call what is answered once: with its id when it is in the log, with null when it is not. */
  enter(): (message_id: string | null) => void {
    this.#pending++;
    return (message_id) => {
      this.#pending--;
      if (message_id !== null) this.#unseen.add(message_id);
      if (this.#pending === 0) for (const wake of this.#waiting.splice(0)) wake();
    };
  }

  /** Resolves when none is on its way. */
  settled(): Promise<void> {
    if (this.#pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The model was shown these. */
  seen(message_ids: ReadonlySet<string>): void {
    for (const id of message_ids) this.#unseen.delete(id);
  }
}
