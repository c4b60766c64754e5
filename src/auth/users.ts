import type { RecordRow } from "../core/record.ts";
import type { Clock } from "../core/ports.ts";
import type { KnownUser, Removal, UserBook, UserChange } from "../core/users.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";
import type { Book } from "./book.ts";
import type { Entry } from "./entry.ts";
import { isChanging } from "./entry.ts";
import { OWNER } from "./owner.ts";
import { listScopes } from "./scopes.ts";

export const USERS = "user";

/** As stored, of those who are shut out. */
interface StoredUser {
  readonly disabled_at: number;
  readonly by: string;
  readonly removal: Removal | null;
}

/** The users who are shut out. */
export class ShutUsers {
  readonly #shut = new Map<string, StoredUser>();

  load(rows: readonly RecordRow[]): void {
    for (const { id, data } of rows) this.#shut.set(id, JSON.parse(data) as StoredUser);
  }
  has(user: string): boolean {
    return this.#shut.has(user);
  }
  get(user: string): StoredUser | undefined {
    return this.#shut.get(user);
  }
  /** As another node left it. What was decided, where nothing was before; else null. */
  told(user: string, row: RecordRow | null): StoredUser | null {
    const had = this.#shut.has(user);
    if (row === null) this.#shut.delete(user);
    else this.load([row]);
    return had ? null : (this.#shut.get(user) ?? null);
  }
  entries(): Iterable<[string, StoredUser]> {
    return this.#shut;
  }
  put(user: string, stored: StoredUser): UserChange {
    const record = {
      collection: USERS,
      id: user,
      owner: user,
      data: JSON.stringify(stored),
      expires_at: null,
    };
    return {
      rows: [{ kind: "record.put", record }],
      commit: () => void this.#shut.set(user, stored),
      undo: () => undefined,
    };
  }
  drop(user: string): UserChange {
    return {
      rows: [{ kind: "record.drop", collection: USERS, id: user }],
      commit: () => void this.#shut.delete(user),
      undo: () => undefined,
    };
  }
}

export interface UsersOptions {
  readonly book: Book;
  readonly shut: ShutUsers;
  readonly clock: Clock;
}

export function createUsers({ book, shut, clock }: UsersOptions): UserBook {
  return {
    users: () => knownUsers(book, shut),
    isShutOut: (user) => shut.has(user),
    requireOpen: (user) => requireOpen(user, shut),
    disable: (user, by) => shut.put(user, { disabled_at: clock.now(), by, removal: null }),
    enable: (user) => shut.drop(user),
    remove: (removal) => shut.put(removal.user, { disabled_at: clock.now(), by: removal.by, removal }),
    told(user, row) {
      const decided = shut.told(user, row);
      return decided && { by: decided.by, isRemoved: isRemoved(decided) };
    },
    shutOut: () => [...shut.entries()].map(([user]) => user),
    removals: () => [...shut.entries()].flatMap(([, { removal }]) => removal ?? []),
    forget(user) {
      const theirs = [...book.entries()].filter(({ principal }) => principal.user === user);
      const over = shut.drop(user);
      const release = keepAway(theirs);
      return {
        // A credential is stored in the collection of its kind.
        rows: [
          ...theirs.map(({ kind, id }) => ({ kind: "record.drop", collection: kind, id }) as const),
          ...over.rows,
        ],
        commit: () => {
          for (const { id } of theirs) book.end(id);
          over.commit();
        },
        undo: release,
      };
    },
  };
}

/**
 * Keeps every change away from credentials that go, a last use too: written behind their end, it would bring them back.
 * @throws GatewayError CONFLICT {kind:"busy"} where one is on its way already
 */
function keepAway(entries: readonly Entry[]): () => void {
  const changeable = entries.filter((entry) => entry.kind !== "auth_session");
  const busy = changeable.find(({ changing }) => changing);
  if (busy !== undefined) throw isChanging(busy.kind);
  const mark = (changing: boolean): void => changeable.forEach((entry) => (entry.changing = changing));
  mark(true);
  return () => mark(false);
}

function requireOpen(user: string, shut: ShutUsers): void {
  if (user === OWNER) {
    throw conflict(
      `${OWNER} has the token of this machine, so that there is always an administrator: revoke or rotate their other tokens instead`,
    );
  }
  if (isRemoved(shut.get(user))) throw conflict(`${user} is being deleted already`);
}

function isRemoved(stored: StoredUser | undefined): boolean {
  return stored !== undefined && stored.removal !== null;
}

function conflict(message: string): GatewayError {
  return new GatewayError("CONFLICT", message, { details: { kind: "state" } });
}

function knownUsers(book: Book, shut: ShutUsers): KnownUser[] {
  const known = new Map<string, { scopes: Set<Scope>; counts: Record<string, number>; last: number }>();
  const of = (user: string) => {
    const found = known.get(user) ?? { scopes: new Set<Scope>(), counts: {}, last: 0 };
    known.set(user, found);
    return found;
  };
  for (const { user, scopes } of book.standing()) for (const scope of scopes) of(user).scopes.add(scope);
  for (const entry of book.entries()) {
    const { principal, kind } = entry;
    const found = of(principal.user);
    for (const scope of principal.scopes) found.scopes.add(scope);
    found.counts[kind] = (found.counts[kind] ?? 0) + 1;
    found.last = Math.max(found.last, ("last_used_at" in entry && entry.last_used_at) || 0);
  }
  for (const [user] of shut.entries()) of(user);
  return [...known].map(([user, { scopes, counts, last }]) => ({
    user,
    disabled: shut.has(user),
    deleting: isRemoved(shut.get(user)),
    scopes: listScopes(scopes),
    counts,
    ...(last > 0 && { last_used_at: last }),
  }));
}
