import type { Client } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import type { ResultFor } from "../client/methods.ts";
import { createStore } from "./store.ts";

export type FoundMessage = ResultFor<"session.search">["results"][number];

export interface MessageSearchState {
  /** "none": nothing is looked for. While "loading" what was found before stays. */
  readonly state: "none" | "loading" | "ready" | "failed";
  readonly results: readonly FoundMessage[];
  readonly more: boolean;
  /** Something was said since, which may have the words. */
  readonly stale: boolean;
}

const NOTHING: MessageSearchState = { state: "none", results: [], more: false, stale: false };
const PAGE = 20;
/** A page may be empty although there is more: so many are looked through before somebody is asked to go on. */
const MOST_PAGES = 5;
const QUERY_CHARS = 200;

/** Looks for words in what was said. */
export class MessageSearch {
  readonly store = createStore<MessageSearchState>(NOTHING);
  readonly #client: Client;
  #query = "";
  #next: string | undefined;
  #asking = new AbortController();

  constructor(client: Client) {
    this.#client = client;
  }

  /** Hears of what is said meanwhile; the answer stops it. */
  follow(): () => void {
    return this.#client.on("session.changed", ({ payload }) => {
      const { session_id, deleted } = payload as unknown as { session_id: string; deleted?: boolean };
      const before = this.store.get();
      if (before.state !== "ready") return;
      const results = before.results.filter((found) => deleted !== true || found.session_id !== session_id);
      this.store.set({ ...before, results, stale: before.stale || deleted !== true });
    });
  }

  /** What was asked counts no more; empty: there is nothing to look for. */
  stop(query = ""): void {
    this.#asking.abort();
    const before = this.store.get();
    if (query.trim() === "") this.store.set(NOTHING);
    else this.store.set({ ...before, state: "loading" });
  }

  /** Anew, with what was found before in its place until the answer is there. */
  search(query: string): void {
    this.stop(query);
    this.#query = query.trim().slice(0, QUERY_CHARS);
    this.#next = undefined;
    if (this.#query !== "") void this.#look([]);
  }

  more(): void {
    this.stop(this.#query);
    void this.#look(this.store.get().results);
  }

  again(): void {
    this.search(this.#query);
  }

  async #look(before: readonly FoundMessage[]): Promise<void> {
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    try {
      const found = await this.#pages(signal);
      if (signal.aborted) return;
      const { stale } = this.store.get();
      const results = [...before, ...found];
      this.store.set({
        state: "ready",
        results,
        more: this.#next !== undefined,
        stale: before.length > 0 && stale,
      });
    } catch (error) {
      if (signal.aborted) return;
      const wordless = error instanceof ClientError && error.details["kind"] === "query";
      this.store.set({ state: wordless ? "ready" : "failed", results: before, more: false, stale: false });
    }
  }

  async #pages(signal: AbortSignal): Promise<FoundMessage[]> {
    const found: FoundMessage[] = [];
    for (let pages = 0; pages < MOST_PAGES && found.length < PAGE; pages++) {
      const { results, next } = await this.#client.request(
        "session.search",
        { query: this.#query, limit: PAGE, ...(this.#next !== undefined && { cursor: this.#next }) },
        { signal },
      );
      if (signal.aborted) break;
      found.push(...results);
      this.#next = next;
      if (next === undefined) break;
    }
    return found;
  }
}
