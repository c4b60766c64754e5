import type { Client } from "../client/client.ts";
import type { ResultFor } from "../client/methods.ts";
import { createStore } from "./store.ts";

export type ListedSession = ResultFor<"session.list">["sessions"][number] & {
  /** Calls of tools that wait for an answer. */
  readonly approvals?: number;
};

export interface SessionList {
  readonly state: "loading" | "ready" | "failed";
  readonly query: string;
  readonly sessions: readonly ListedSession[];
  readonly more: boolean;
}

const PAGE = 50;

/** The sessions one may read, newest first, kept up to date by what the gateway tells. */
export class Sessions {
  readonly store = createStore<SessionList>({ state: "loading", query: "", sessions: [], more: false });
  readonly #client: Client;
  #next: string | undefined;
  /** The question that counts: answers to earlier ones are thrown away. */
  #asked = 0;

  constructor(client: Client) {
    this.#client = client;
  }

  /** Follows what happens; the answer stops it. */
  start(): () => void {
    const stops = [
      this.#client.on("session.changed", ({ payload }) => this.#changed(payload as unknown as Changed)),
      // What happened while there was no connection is in no signal.
      this.#client.on("state", ({ state }) => void (state === "connected" && this.load())),
    ];
    void this.load();
    return () => stops.forEach((stop) => stop());
  }

  search(query: string): void {
    this.store.set({ ...this.store.get(), query });
    void this.load();
  }

  async load(): Promise<void> {
    const mine = ++this.#asked;
    await this.#ask(mine, undefined);
  }

  async loadMore(): Promise<void> {
    if (this.#next !== undefined) await this.#ask(++this.#asked, this.#next);
  }

  /** What this page did itself counts at once. */
  put(session: ListedSession): void {
    const state = this.store.get();
    if (!matches(session.title, session.session_id, state.query)) return;
    const others = state.sessions.filter(({ session_id }) => session_id !== session.session_id);
    this.store.set({ ...state, sessions: newestFirst([session, ...others]) });
  }

  remove(session_id: string): void {
    const state = this.store.get();
    this.store.set({
      ...state,
      sessions: state.sessions.filter((session) => session.session_id !== session_id),
    });
  }

  async #ask(mine: number, cursor: string | undefined): Promise<void> {
    const { query } = this.store.get();
    try {
      const { sessions, next } = await this.#client.request("session.list", {
        limit: PAGE,
        ...(query.trim() !== "" && { query: query.trim().slice(0, 200) }),
        ...(cursor !== undefined && { cursor }),
      });
      if (mine !== this.#asked) return;
      this.#next = next;
      const before = cursor === undefined ? [] : this.store.get().sessions;
      const known = new Set(sessions.map(({ session_id }) => session_id));
      const kept = before.filter(({ session_id }) => !known.has(session_id));
      this.store.set({ state: "ready", query, sessions: [...kept, ...sessions], more: next !== undefined });
    } catch {
      // A connection that was lost comes back, and asks again.
      if (mine === this.#asked) this.store.set({ ...this.store.get(), state: "failed" });
    }
  }

  #changed({ session_id, deleted, ...changed }: Changed): void {
    if (deleted === true) return this.remove(session_id);
    const known = this.store.get().sessions.find((session) => session.session_id === session_id);
    if (known !== undefined) {
      const { active_run_id: _, ...rest } = known;
      return this.put({ ...rest, ...changed });
    }
    if (matches(changed.title, session_id, this.store.get().query)) void this.#fetch(session_id);
    return undefined;
  }

  async #fetch(session_id: string): Promise<void> {
    const found = await this.#client.request("session.get", { session_id }).catch(() => null);
    if (found !== null) this.put(found);
  }
}

interface Changed {
  readonly session_id: string;
  readonly head: number;
  readonly epoch: string;
  readonly title: string;
  readonly updated_at: number;
  readonly active_run_id?: string;
  readonly approvals: number;
  readonly deleted?: boolean;
}

function matches(title: string, session_id: string, query: string): boolean {
  const wanted = query.trim().toLowerCase();
  return title.toLowerCase().includes(wanted) || session_id.toLowerCase().includes(wanted);
}

function newestFirst(sessions: readonly ListedSession[]): ListedSession[] {
  return sessions.toSorted((one, other) => other.updated_at - one.updated_at);
}
