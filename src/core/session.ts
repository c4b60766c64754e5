import { GatewayError } from "../protocol/errors.ts";
import type { Session } from "../protocol/entities.ts";
import type { Naming } from "../protocol/events.ts";
import { sessionTopic } from "../protocol/events.ts";
import { isGatewaySessionId, newId } from "./id.ts";
import type { SessionRow } from "./operation.ts";
import type { Clock } from "./ports.ts";
import type { Cached } from "./session-cache.ts";
import { CACHED, remember, shareRead } from "./session-cache.ts";
import type { Store } from "./store.ts";

export type ShareRole = "viewer" | "editor";

/** Which session: never changes while it exists. */
export interface SessionRef {
  /** The gateway's id, `ses_…`. */
  readonly id: string;
  readonly owner: string;
  /** The owner's own id for it, if any. */
  readonly name: string | null;
}

/** Which of the two names of a session a user reads. */
export function namingFor(session: SessionRef, user: string): Naming {
  return session.name !== null && session.owner === user ? "owner" : "gateway";
}
export function nameOf(session: SessionRef, naming: Naming): string {
  return naming === "owner" && session.name !== null ? session.name : session.id;
}
export function nameFor(session: SessionRef, user: string): string {
  return nameOf(session, namingFor(session, user));
}
export function topicOf(session: SessionRef, naming: Naming): string {
  return sessionTopic(session.id, naming);
}
/** The names under which frames of a session are published. */
export function namingsOf(session: SessionRef): readonly Naming[] {
  return session.name === null ? ["gateway"] : ["owner", "gateway"];
}

/** The wire form of a session row. */
export function sessionView(row: SessionRow, name: string): Session {
  return {
    session_id: name,
    title: row.title,
    owner: row.owner,
    ...(row.model !== null && { model: row.model }),
    ...(row.system_prompt !== null && { system_prompt: row.system_prompt }),
    metadata: JSON.parse(row.metadata) as Record<string, unknown>,
    created_at: row.created_at,
    archived: row.archived,
    updated_at: row.updated_at,
    message_count: row.message_count,
    ...(row.active_run_id !== null && { active_run_id: row.active_run_id }),
    epoch: row.epoch,
    head: row.head,
  };
}

/** The payload of session.created and session.updated: what the fold cannot take from the frames. */
export function sessionPayload(row: {
  title: string;
  owner: string;
  model: string | null;
  system_prompt: string | null;
  metadata: string;
  created_at: number;
  archived: boolean;
}): string {
  const session = {
    title: row.title,
    owner: row.owner,
    ...(row.model !== null && { model: row.model }),
    ...(row.system_prompt !== null && { system_prompt: row.system_prompt }),
    metadata: JSON.parse(row.metadata) as unknown,
    created_at: row.created_at,
    archived: row.archived,
  };
  return JSON.stringify({ session });
}

/** What is not yours looks exactly like what does not exist. */
export function noSession(): GatewayError {
  return new GatewayError("NOT_FOUND", "no such session: see session.list, or make it with session.create", {
    details: { kind: "session" },
  });
}
function goneSession(): GatewayError {
  return new GatewayError("GONE", "this session was deleted; session.create makes a new one under its id", {
    details: { kind: "session" },
  });
}

/** No session has this id: to look for where nothing can be, as long as where something may be. */
export const NOWHERE = `ses_${"0".repeat(26)}`;

/** What a user reads of a session that was deleted: only its owner learns that it was there. */
export function gone(session: SessionRef, user: string): GatewayError {
  return session.owner === user ? goneSession() : noSession();
}

export type Access = "read" | "write" | "own";

/**
 * Finds sessions by the ids clients use, and says who may do what with them. Look-ups of one id share one read, so
 * requests that wait for it go on in the order they came.
 */
export class Directory {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #byId = new Map<string, Cached<SessionRef | null>>();
  readonly #byName = new Map<string, Cached<SessionRef | "gone" | null>>();
  readonly #shares = new Map<string, Map<string, ShareRole>>();
  /** Ids of sessions that were deleted lately: what was found before must not be used after. */
  readonly #deleted = new Set<string>();
  /** Resolves once everything is known that other nodes shared. */
  caughtUp: () => Promise<void> = () => Promise.resolve();
  /** Owners of sessions that were given to another user lately, by id: what was found before names the one before. */
  readonly #owners = new Map<string, string>();

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Reads the shares, once at start. */
  async load(): Promise<void> {
    for (const record of await this.#store.records("share")) {
      const { user, role } = JSON.parse(record.data) as { user: string; role: ShareRole };
      this.share(record.owner, user, role);
    }
  }

  /** A session the user may read, by either of its names; null if there is none. @throws GatewayError GONE */
  async lookup(user: string, id: string): Promise<SessionRef | null> {
    if (!isGatewaySessionId(id)) {
      const found = await this.#named(user, id);
      if (found === "gone") throw goneSession();
      return found;
    }
    const remembered = this.#byId.get(id)?.session ?? null;
    const found = await this.#gateway(id);
    if (found !== null && this.roleOf(found, user) !== null) return found;
    await this.caughtUp();
    if (found !== null && this.roleOf(found, user) !== null) return found;
    // Another's costs the reads of what is not there, so that the time of the answer does not tell which it is.
    if (remembered !== null) await this.#store.session(NOWHERE);
    if (await this.#store.deleted(id, user)) throw goneSession();
    return null;
  }

  /** As lookup, with the right to do something. @throws GatewayError NOT_FOUND, GONE or FORBIDDEN */
  async find(user: string, id: string, access: Access): Promise<SessionRef> {
    const session = await this.lookup(user, id);
    if (session === null) throw noSession();
    this.require(session, user, access);
    return session;
  }

  /**
   * Asked again wherever something was waited for since the look-up, in the tick that does it.
   * @throws GatewayError NOT_FOUND for what the user may not see, GONE, FORBIDDEN for what it may see but not do
   */
  require(session: SessionRef, user: string, access: Access): void {
    if (this.#deleted.has(session.id)) throw gone(session, user);
    const role = this.roleOf(session, user);
    if (role === null) throw noSession();
    if (access === "read" || role === "owner") return;
    if (access === "write" && role === "editor") return;
    const needed = access === "own" ? "its owner" : "its owner or an editor";
    throw new GatewayError("FORBIDDEN", `only ${needed} may do this`, { details: { kind: "share", role } });
  }

  roleOf(session: SessionRef, user: string): "owner" | ShareRole | null {
    if (this.#ownerOf(session) === user) return "owner";
    return this.#shares.get(session.id)?.get(user) ?? null;
  }

  /** Whether a user may read a session that was found earlier, now. */
  mayRead(session: SessionRef, user: string): boolean {
    return !this.#deleted.has(session.id) && this.roleOf(session, user) !== null;
  }

  /** Everyone who may read a session. */
  readersOf(session: SessionRef): string[] {
    return [this.#ownerOf(session), ...(this.#shares.get(session.id)?.keys() ?? [])];
  }

  /** Gateway ids of the sessions shared with a user. */
  sharedWith(user: string): string[] {
    const ids: string[] = [];
    for (const [id, users] of this.#shares) if (users.has(user)) ids.push(id);
    return ids;
  }

  /** Every one of them. */
  shares(): { readonly session: string; readonly user: string }[] {
    return [...this.#shares].flatMap(([session, users]) =>
      [...users.keys()].map((user) => ({ session, user })),
    );
  }

  share(session: string, user: string, role: ShareRole): void {
    const users = this.#shares.get(session) ?? new Map<string, ShareRole>();
    users.set(user, role);
    this.#shares.set(session, users);
  }
  unshare(session: string, user: string): void {
    const users = this.#shares.get(session);
    users?.delete(user);
    if (users?.size === 0) this.#shares.delete(session);
  }

  /** A new session is being made: until it is settled, look-ups of its name find it and queue behind it. */
  reserve(owner: string, name: string | null): SessionRef {
    const session: SessionRef = { id: this.newId(), owner, name };
    this.adopt(session);
    return session;
  }

  /** The session of that name if it is known to exist or being made; without a read. */
  known(owner: string, name: string): SessionRef | null {
    return this.#byName.get(nameKey(owner, name))?.session ?? null;
  }

  /** What is remembered under a gateway's id; null: nothing, or it is being looked for. */
  cached(id: string): SessionRef | null {
    return this.#byId.get(id)?.session ?? null;
  }
  cachedIds(): IterableIterator<string> {
    return this.#byId.keys();
  }

  newId(): string {
    return newId("ses", this.#clock.now());
  }

  /** A session that exists now. */
  adopt(session: SessionRef): void {
    const cached = { found: Promise.resolve(session), session };
    remember(this.#byId, session.id, cached);
    // Where two are being made under one name, the first has it until it fails.
    if (session.name === null || this.known(session.owner, session.name) !== null) return;
    remember(this.#byName, nameKey(session.owner, session.name), cached);
  }

  /** It was not made after all: ask the store again. */
  forget(session: SessionRef): void {
    this.#byId.delete(session.id);
    if (session.name === null) return;
    const key = nameKey(session.owner, session.name);
    const named = this.#byName.get(key)?.session ?? session;
    if (named.id === session.id) this.#byName.delete(key);
  }

  /** It is deleted: whoever found it before reads GONE or NOT_FOUND from now on, and it is shared with nobody. */
  deleted(session: SessionRef): void {
    this.forget(session);
    this.#shares.delete(session.id);
    this.#deleted.add(session.id);
    const [oldest] = this.#deleted;
    if (this.#deleted.size > CACHED && oldest !== undefined) this.#deleted.delete(oldest);
  }

  /** It belongs to another user, who calls it by the gateway's id, or by this name. */
  transferred(session: SessionRef, owner: string, name: string | null = null): void {
    this.forget(session);
    this.unshare(session.id, owner);
    remember(this.#owners, session.id, owner);
    this.adopt({ id: session.id, owner, name });
  }

  #ownerOf(session: SessionRef): string {
    return this.#owners.get(session.id) ?? session.owner;
  }

  #gateway(id: string): Promise<SessionRef | null> {
    return shareRead(this.#byId, id, () => this.#store.session(id).then((row) => row && refOf(row)));
  }

  #named(owner: string, name: string): Promise<SessionRef | "gone" | null> {
    return shareRead(this.#byName, nameKey(owner, name), () =>
      this.#store.named(owner, name).then((row) => {
        if (row === "gone" || row === null) return row;
        const session = refOf(row);
        // Found by its name, it is to be found by its id where another node ends it.
        remember(this.#byId, session.id, { found: Promise.resolve(session), session });
        return session;
      }),
    );
  }
}

function refOf({ id, owner, name }: SessionRow): SessionRef {
  return { id, owner, name };
}

function nameKey(owner: string, name: string): string {
  return `${owner}\n${name}`;
}
