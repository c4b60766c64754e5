import type { Limits } from "../../core/limits.ts";
import type { IdempotencyRow, ItemResult, RowChange, SessionRow } from "../../core/operation.ts";
import { withinTtl } from "../rules.ts";
import { bigints, texts } from "./queries.ts";
import type { Queries } from "./queries.ts";

export type Refused = Extract<ItemResult, { ok: false }>;
/** A request's key as an operation or a copy brings it. */
export type KeyFields = Omit<Extract<RowChange, { kind: "idempotency" }>, "kind">;

/** Expired keys of a user that are made room of at once when the quota is reached. */
const MAKE_ROOM_ROWS = 1_000;

interface Held {
  readonly sessions: number;
  readonly keys: number;
  readonly files: number;
  readonly bytes: number;
}
const NOTHING: Held = { sessions: 0, keys: 0, files: 0, bytes: 0 };
const AMOUNTS = `session_count::float8 AS sessions, key_count::float8 AS keys, attachment_count::float8 AS files,
  attachment_bytes::float8 AS bytes`;

type KeyRow = IdempotencyRow & { readonly created_at: number };
interface Saved {
  readonly held: ReadonlyMap<string, Held>;
  readonly keys: ReadonlyMap<string, KeyRow | null>;
}

function nameOf({ user, key }: Pick<KeyFields, "user" | "key">): string {
  return `${user}\n${key}`;
}

/**
 * What users hold is counted in `quotas`, never by reading the rows. Whoever counts holds the user's row: what is read of
 * the user's keys, names and files after `lock` stays true until the commit.
 */
export class Quotas {
  readonly #q: Queries;
  readonly #limits: Limits;
  #held = new Map<string, Held>();
  /** Those that operations of the group bring; null: it is free. */
  #keys = new Map<string, KeyRow | null>();
  readonly #changed = new Set<string>();

  constructor(q: Queries, limits: Limits) {
    this.#q = q;
    this.#limits = limits;
  }

  /**
   * In the order of their names, so that no two groups wait for one another. A user may be locked once only. `keys` are
   * those that will be asked for.
   */
  async lock(users: readonly string[], keys: readonly Pick<KeyFields, "user" | "key">[] = []): Promise<void> {
    const names = [...new Set(users)].filter((user) => !this.#held.has(user)).toSorted();
    for (const user of names) this.#changed.add(user);
    let missing = names;
    while (missing.length > 0) {
      const [, rows] = await Promise.all([
        this.#q.run(
          `INSERT INTO quotas SELECT u.name, 0, 0, 0, 0 FROM unnest($1::text[]) AS u (name)
           WHERE NOT EXISTS (SELECT 1 FROM quotas AS q WHERE q.username = u.name) ORDER BY u.name ON CONFLICT DO NOTHING`,
          [texts(missing)],
        ),
        this.#q.all<Held & { username: string }>(
          `SELECT username, ${AMOUNTS} FROM quotas WHERE username = ANY($1::text[]) ORDER BY username FOR UPDATE`,
          [texts(missing)],
        ),
        this.#readKeys(keys),
      ]);
      for (const { username, sessions, keys: count, files, bytes } of rows)
        this.#held.set(username, { sessions, keys: count, files, bytes });
      // One that went away while it was waited for is made again.
      missing = missing.filter((user) => !this.#held.has(user));
    }
  }

  /** Behind the locks: what is read is still so at the commit. */
  async #readKeys(keys: readonly Pick<KeyFields, "user" | "key">[]): Promise<void> {
    if (keys.length === 0) return;
    const rows = await this.#q.all<KeyRow & { user: string; key: string }>(
      `SELECT username AS "user", key, fingerprint, answer, session, epoch, seq::float8 AS seq,
         created_at::float8 AS created_at FROM idempotency
       WHERE (username, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
      [texts(keys.map(({ user }) => user)), texts(keys.map(({ key }) => key))],
    );
    for (const each of keys) this.#keys.set(nameOf(each), null);
    for (const { user, key, ...row } of rows) this.#keys.set(nameOf({ user, key }), row);
  }

  /** What is counted and known by now; give it to `restore` to take back what changed later. */
  save(): Saved {
    return { held: new Map(this.#held), keys: new Map(this.#keys) };
  }
  restore({ held, keys }: Saved): void {
    this.#held = new Map(held);
    this.#keys = new Map(keys);
  }

  /** Null where the user may own another session. */
  checkSession(owner: string): Refused | null {
    const full = this.#of(owner).sessions >= this.#limits.sessions_per_user;
    return full ? { ok: false, reason: "full", what: "sessions_per_user" } : null;
  }
  /** Counts a session in (1) or out (-1). */
  countSession(owner: string, by: 1 | -1): void {
    this.#add(owner, { sessions: by });
  }
  /** What files a user holds or uploads. */
  filesOf(user: string): { readonly files: number; readonly bytes: number } {
    return this.#of(user);
  }
  /** Counts files and bytes in or out. */
  countFiles(user: string, files: number, bytes: number): void {
    this.#add(user, { files, bytes });
  }

  /** Null where the key is free and the user may hold another one; the prior answer where it is taken. */
  async checkKey({ user, key, created_at, of_call }: KeyFields): Promise<Refused | null> {
    const { keys_per_user, key_ttl_secs } = this.#limits;
    const row = this.#keys.get(nameOf({ user, key })) ?? null;
    if (row !== null && withinTtl(row.created_at, key_ttl_secs, created_at)) {
      const { created_at: _, ...prior } = row;
      return { ok: false, reason: "idempotent", prior };
    }
    if (row !== null || of_call === true || this.#of(user).keys < keys_per_user) return null;
    await this.#dropKeysOf(user, created_at - key_ttl_secs * 1000, MAKE_ROOM_ROWS);
    return this.#of(user).keys < keys_per_user ? null : { ok: false, reason: "full", what: "keys_per_user" };
  }

  async keep(
    fields: KeyFields,
    session: Pick<SessionRow, "id" | "epoch"> | null,
    seq: number,
  ): Promise<null> {
    const { user, key, fingerprint, answer, created_at } = fields;
    const row = { fingerprint, answer, session: session?.id ?? null, epoch: session?.epoch ?? null, seq };
    if ((this.#keys.get(nameOf(fields)) ?? null) === null) this.#add(user, { keys: 1 });
    this.#keys.set(nameOf(fields), { ...row, created_at });
    await this.#q.run(
      `INSERT INTO idempotency (username, key, fingerprint, answer, session, epoch, seq, created_at)
       VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::bigint, $8::bigint)
       ON CONFLICT (username, key) DO UPDATE SET fingerprint = excluded.fingerprint, answer = excluded.answer,
         session = excluded.session, epoch = excluded.epoch, seq = excluded.seq, created_at = excluded.created_at`,
      [user, key, fingerprint, answer, row.session, row.epoch, seq, created_at],
    );
    return null;
  }

  /** Erases keys of a user; the number erased. */
  forget(user: string, max_rows: number): Promise<number> {
    return this.#dropKeysOf(user, Number.MAX_SAFE_INTEGER, max_rows);
  }

  /** Erases these. */
  async drop(keys: readonly Pick<KeyFields, "user" | "key">[]): Promise<void> {
    if (keys.length === 0) return;
    await this.lock(keys.map(({ user }) => user));
    const erased = await this.#q.all<{ username: string }>(
      `DELETE FROM idempotency WHERE (username, key) IN (SELECT * FROM unnest($1::text[], $2::text[])) RETURNING username`,
      [texts(keys.map(({ user }) => user)), texts(keys.map(({ key }) => key))],
    );
    for (const { username } of erased) this.#add(username, { keys: -1 });
  }

  /** Erases keys made at or before `before`, oldest first; the number erased. */
  async expireKeys(before: number, max_rows: number): Promise<number> {
    const expired = `SELECT username, key FROM idempotency WHERE created_at <= $1::bigint ORDER BY created_at LIMIT $2::bigint`;
    const users = await this.#q.all<{ username: string }>(`SELECT DISTINCT username FROM (${expired}) AS e`, [
      before,
      max_rows,
    ]);
    await this.lock(users.map(({ username }) => username));
    let erased = 0;
    // Of these alone: others that expired since are another round's.
    for (const { username } of users) erased += await this.#dropKeysOf(username, before, max_rows - erased);
    return erased;
  }

  /** Writes back what was counted. What holds nothing is kept nowhere. */
  async flush(): Promise<void> {
    const users = [...this.#changed];
    this.#changed.clear();
    if (users.length === 0) return;
    const of = (name: keyof Held) => bigints(users.map((user) => this.#of(user)[name]));
    const empty = users.filter((user) => {
      const { sessions, keys, files } = this.#of(user);
      return sessions <= 0 && keys <= 0 && files <= 0;
    });
    await Promise.all([
      this.#q.run(
        `UPDATE quotas AS q SET session_count = u.sessions, key_count = u.keys, attachment_count = u.files,
           attachment_bytes = u.bytes
         FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
           AS u (username, sessions, keys, files, bytes)
         WHERE q.username = u.username`,
        [texts(users), of("sessions"), of("keys"), of("files"), of("bytes")],
      ),
      empty.length > 0 && this.#q.run("DELETE FROM quotas WHERE username = ANY($1::text[])", [texts(empty)]),
    ]);
  }

  async #dropKeysOf(user: string, upto: number, max_rows: number): Promise<number> {
    const erased = await this.#q.all<{ key: string }>(
      `DELETE FROM idempotency WHERE username = $1::text AND key IN (SELECT key FROM idempotency
         WHERE username = $1::text AND created_at <= $2::bigint ORDER BY created_at LIMIT $3::bigint) RETURNING key`,
      [user, upto, max_rows],
    );
    for (const { key } of erased) this.#keys.set(nameOf({ user, key }), null);
    if (erased.length > 0) this.#add(user, { keys: -erased.length });
    return erased.length;
  }

  #of(user: string): Held {
    return this.#held.get(user) ?? NOTHING;
  }

  #add(user: string, { sessions = 0, keys = 0, files = 0, bytes = 0 }: Partial<Held>): void {
    const held = this.#held.get(user);
    if (held === undefined) throw new Error("what a user holds was changed without the user's lock");
    this.#held.set(user, {
      sessions: held.sessions + sessions,
      keys: held.keys + keys,
      files: held.files + files,
      bytes: held.bytes + bytes,
    });
    this.#changed.add(user);
  }
}
