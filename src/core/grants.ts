import type { RowChange } from "./operation.ts";
import type { SessionRef } from "./session.ts";
import type { Store } from "./store.ts";
import { GRANTS } from "./tool-events.ts";

const NONE: ReadonlySet<string> = new Set();
/** Sessions whose grants are in memory, the least recently used first. */
const CACHED = 1_000;

/** Tools that somebody allowed for as long as a session lasts, by name. */
export class Grants {
  readonly #store: Store;
  readonly #sessions = new Map<string, Promise<Set<string>>>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** An error of the store is none of a run's: it is asked again as if nothing was allowed. */
  async of(session: SessionRef): Promise<ReadonlySet<string>> {
    return this.#load(session.id).catch(() => NONE);
  }

  /** What makes a tool allowed; `added` has to follow its commit. */
  row(session: SessionRef, tool: string, by: string): RowChange {
    const data = JSON.stringify({ tool, by });
    const record = { collection: GRANTS, id: idOf(session, tool), owner: session.id, data, expires_at: null };
    return { kind: "record.put", record };
  }

  added(session: SessionRef, tool: string): void {
    // A read that fails is told to those who asked for it, and is done again.
    void this.#sessions.get(session.id)?.then(
      (tools) => tools.add(tool),
      () => undefined,
    );
  }

  /** What takes back all that is allowed; `forget` has to follow its commit. */
  async drops(session: SessionRef): Promise<RowChange[]> {
    const tools = await this.#load(session.id);
    return [...tools].map((tool) => ({ kind: "record.drop", collection: GRANTS, id: idOf(session, tool) }));
  }

  forget({ id }: Pick<SessionRef, "id">): void {
    this.#sessions.delete(id);
  }
  forgetAll(): void {
    this.#sessions.clear();
  }

  #load(id: string): Promise<Set<string>> {
    const known = this.#sessions.get(id) ?? this.#read(id);
    this.#sessions.delete(id);
    this.#sessions.set(id, known);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size > CACHED && oldest !== undefined) this.#sessions.delete(oldest);
    known.catch(() => this.#sessions.delete(id));
    return known;
  }

  async #read(id: string): Promise<Set<string>> {
    const rows = await this.#store.records(GRANTS, id);
    return new Set(rows.map(({ data }) => (JSON.parse(data) as { tool: string }).tool));
  }
}

function idOf(session: SessionRef, tool: string): string {
  return `${session.id}/${tool}`;
}
