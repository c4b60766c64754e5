import type { Change } from "../core/automation.ts";
import type { RowChange } from "../core/operation.ts";
import type { RecordRow } from "../core/record.ts";
import type { MadeBy, Makers } from "../core/maker.ts";
import { SUSPENDED } from "../core/maker.ts";
import type { Mirror } from "../core/mirrors.ts";
import { mirrorOf } from "../core/mirrors.ts";
import type { Principal } from "../core/principal.ts";
import type { Store } from "../core/store.ts";
import type { UserChange } from "../core/users.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";

/** What every record says of itself. */
export interface Owned {
  readonly id: string;
  readonly owner: string;
}

/** What somebody may have done for them later: what they might do themselves, and no more than say something. */
export function writing(scopes: ReadonlySet<Scope>): Scope[] {
  return scopes.has("chat.write") ? ["chat.write"] : [];
}

/** Those of the scopes it was made with that count now; a text: why nothing of it does. */
export function rightsNow(
  makers: Makers,
  made: MadeBy & { readonly scopes: readonly Scope[] },
): readonly Scope[] | string {
  const rights = makers.rights(made);
  if (typeof rights === "string") return SUSPENDED[rights];
  return made.scopes.filter((scope) => rights.has(scope));
}

/** What a view tells of one of which nothing is done. */
export function suspension(makers: Makers, made: MadeBy): { readonly suspended?: string } {
  const rights = makers.rights(made);
  return typeof rights === "string" ? { suspended: SUSPENDED[rights] } : {};
}

/**
 * What has a right of whoever made it is changed and used by nobody without that right: it would be lent to them.
 * @throws GatewayError FORBIDDEN
 */
export function requireScopes(by: Principal, needed: readonly Scope[]): void {
  const missing = needed.find((scope) => !by.scopes.has(scope));
  if (missing === undefined) return;
  throw new GatewayError(
    "FORBIDDEN",
    `it was made with the scope ${missing}, which you do not have: delete it, or use a credential that has`,
    {
      details: { kind: "scope", scope: missing },
    },
  );
}

/** Records of one collection that belong to users: all of them in memory, every change of them in the journal. */
export class OwnedRecords<T extends Owned> {
  readonly #collection: string;
  /** What one is called in errors, e.g. "hook". */
  readonly #noun: string;
  readonly #per_user: () => number;
  readonly #all = new Map<string, T>();
  readonly #changing = new Set<string>();
  /** What the store has of each, so that nothing is written over what another node made of it. */
  readonly #stored = new Map<string, string>();

  constructor(options: {
    readonly collection: string;
    readonly noun: string;
    /** May be another one each time. */
    readonly per_user: () => number;
  }) {
    this.#collection = options.collection;
    this.#noun = options.noun;
    this.#per_user = options.per_user;
  }

  load(rows: readonly RecordRow[]): void {
    for (const { id, owner, data } of rows) {
      this.#all.set(id, { ...(JSON.parse(data) as T), id, owner });
      this.#stored.set(id, data);
    }
  }

  /** How it follows what other nodes write. `done` is told of each, as it was before. */
  mirror(store: Store, done: (id: string, before: T | undefined) => void): Mirror {
    return mirrorOf(store, this.#collection, {
      apply: (id, row) => {
        const before = this.#all.get(id);
        if ((row?.data ?? null) === (this.#stored.get(id) ?? null)) return;
        if (row === null) this.forgetOne(id);
        else this.load([row]);
        done(id, before);
      },
      ids: () => this.#all.keys(),
    });
  }

  get(id: string): T | undefined {
    return this.#all.get(id);
  }

  /** As it is committed by somebody else. */
  set(record: T): void {
    this.#all.set(record.id, record);
    this.#stored.set(record.id, dataOf(record));
  }

  /** Its end is committed by somebody else. */
  forgetOne(id: string): void {
    this.#all.delete(id);
    this.#stored.delete(id);
  }

  isChanging(id: string): boolean {
    return this.#changing.has(id);
  }

  /** Keeps changes of it away; null: one is on its way. The answer lets them in again. */
  hold(id: string): (() => void) | null {
    if (this.#changing.has(id)) return null;
    this.#changing.add(id);
    return () => void this.#changing.delete(id);
  }

  /** Of a user, or everybody's (null), oldest first. */
  list(user: string | null): T[] {
    return [...this.#all.values()].filter(({ owner }) => user === null || owner === user);
  }

  /** What somebody may change: their own, an administrator everybody's. @throws GatewayError NOT_FOUND */
  require(by: Principal, id: string): T {
    const found = this.find(by, id);
    if (found !== null) return found;
    throw new GatewayError("NOT_FOUND", `no such ${this.#noun}: ${this.#noun}.list names them`, {
      details: { kind: this.#noun },
    });
  }

  find({ user, scopes }: Principal, id: string): T | null {
    const found = this.#all.get(id);
    return found !== undefined && (found.owner === user || scopes.has("admin")) ? found : null;
  }

  /** Before one is made. @throws GatewayError CONFLICT {kind:"full"} */
  requireRoom(user: string): void {
    const limit = this.#per_user();
    if (this.list(user).length < limit) return;
    const what = `${this.#noun}s_per_user`;
    throw new GatewayError(
      "CONFLICT",
      `full: ${user} has ${limit} ${this.#noun}s; delete some (limits.${what})`,
      {
        details: { kind: "full" },
        limit: { what, limit },
      },
    );
  }

  row(record: T): RowChange {
    const { id, owner } = record;
    return {
      kind: "record.put",
      record: { collection: this.#collection, id, owner, data: dataOf(record), expires_at: null },
      over: this.#stored.get(id) ?? null,
    };
  }

  /** One that is made, or replaced. @throws GatewayError CONFLICT {kind:"busy"} while another change of it is on its way */
  put<R>(record: T, answer: () => R): Change<R> {
    return this.#change(record.id, [this.row(record)], () => {
      this.set(record);
      return answer();
    });
  }

  /** @throws GatewayError CONFLICT {kind:"busy"} */
  drop(id: string, besides: readonly RowChange[] = [], done: () => void = () => undefined): Change<void> {
    const rows = [{ kind: "record.drop", collection: this.#collection, id } as const, ...besides];
    return this.#change(id, rows, () => {
      this.forgetOne(id);
      done();
    });
  }

  /** All of a user's go. @throws GatewayError CONFLICT {kind:"busy"} */
  forget(user: string, drop: (record: T) => Change<void> = ({ id }) => this.drop(id)): UserChange {
    const drops: Change<void>[] = [];
    try {
      for (const record of this.list(user)) drops.push(drop(record));
    } catch (error) {
      for (const { undo } of drops) undo();
      throw error;
    }
    return {
      rows: drops.flatMap(({ rows }) => rows),
      commit: () => drops.forEach(({ commit }) => commit()),
      undo: () => drops.forEach(({ undo }) => undo()),
    };
  }

  #change<R>(id: string, rows: readonly RowChange[], commit: () => R): Change<R> {
    if (this.#changing.has(id)) {
      throw new GatewayError("CONFLICT", `another change of this ${this.#noun} is on its way: try again`, {
        details: { kind: "busy" },
        retryable: true,
        retry_after_ms: 100,
      });
    }
    this.#changing.add(id);
    return {
      id,
      rows,
      commit: () => {
        this.#changing.delete(id);
        return commit();
      },
      undo: () => void this.#changing.delete(id),
    };
  }
}

function dataOf<T extends Owned>({ id: _id, owner: _owner, ...data }: T): string {
  return JSON.stringify(data);
}
