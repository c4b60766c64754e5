/** One frame on its way out, encoded once. `seq` is null for signals. */
export interface Frame {
  readonly text: string;
  readonly type: string;
  readonly epoch: string | null;
  readonly seq: number | null;
}

/** A transport's end of the topics: gives a frame to each of its readers that follow the topic, synchronously. */
export interface Listener {
  publish(topic: string, frame: Frame): void;
}

/** The topics of this process: who listens, and whether anybody follows a topic at all. */
export class Hub {
  readonly #listeners = new Set<Listener>();
  readonly #followers = new Map<string, number>();

  addListener(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  follow(topic: string): void {
    this.#followers.set(topic, (this.#followers.get(topic) ?? 0) + 1);
  }

  unfollow(topic: string): void {
    const left = (this.#followers.get(topic) ?? 1) - 1;
    if (left > 0) this.#followers.set(topic, left);
    else this.#followers.delete(topic);
  }

  followers(topic: string): number {
    return this.#followers.get(topic) ?? 0;
  }

  /** `frame` is only encoded when somebody follows the topic. */
  publish(topic: string, frame: () => Frame): void {
    if (!this.#followers.has(topic)) return;
    const encoded = frame();
    for (const listener of this.#listeners) listener.publish(topic, encoded);
  }
}
