import type { Database } from "bun:sqlite";
import { newerSchema } from "../newer.ts";

/**
 * One text per version of the schema, applied in order, never changed once released. `user_version` counts them.
 * A session's log is the rows of `events` in (floor, head]; every other row is written in the transaction of its event.
 */
const MIGRATIONS = [
  `
  CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE sessions (
    session_key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    name TEXT,
    state TEXT NOT NULL CHECK (state IN ('live', 'copying', 'deleting')),
    epoch TEXT NOT NULL,
    floor INTEGER NOT NULL,
    head INTEGER NOT NULL CHECK (head >= floor),
    message_count INTEGER NOT NULL,
    active_run_id TEXT,
    archived INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    title TEXT NOT NULL,
    title_folded TEXT NOT NULL,
    model TEXT,
    metadata TEXT NOT NULL,
    system_prompt TEXT
  ) STRICT;
  CREATE UNIQUE INDEX sessions_name ON sessions (owner, name) WHERE name IS NOT NULL;
  CREATE INDEX sessions_recent ON sessions (owner, updated_at, id);
  CREATE INDEX sessions_unsettled ON sessions (state) WHERE state <> 'live';
  CREATE INDEX sessions_log ON sessions (session_key) WHERE head > floor;

  CREATE TABLE events (
    session_key INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    type TEXT NOT NULL,
    run_id TEXT,
    payload TEXT NOT NULL,
    PRIMARY KEY (session_key, seq)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE messages (
    session_key INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    role TEXT NOT NULL,
    status TEXT NOT NULL,
    run_id TEXT,
    data TEXT NOT NULL,
    PRIMARY KEY (session_key, message_id)
  ) STRICT;
  CREATE INDEX messages_seq ON messages (session_key, seq);
  CREATE INDEX messages_open ON messages (session_key, seq) WHERE status = 'streaming';

  CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    session_key INTEGER NOT NULL,
    owner TEXT NOT NULL,
    status TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    data TEXT NOT NULL
  ) STRICT;
  CREATE INDEX runs_session ON runs (session_key, created_at, run_id);
  CREATE INDEX runs_owner ON runs (owner, created_at, run_id);
  CREATE INDEX runs_unended ON runs (session_key, first_seq) WHERE status IN ('queued', 'running');

  CREATE TABLE copies (
    session_key INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    copied_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    skip TEXT NOT NULL
  ) STRICT;

  CREATE TABLE idempotency (
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer TEXT NOT NULL,
    session TEXT,
    epoch TEXT,
    seq INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX idempotency_user ON idempotency (user, created_at);
  CREATE INDEX idempotency_age ON idempotency (created_at);

  CREATE TABLE quotas (
    user TEXT PRIMARY KEY,
    session_count INTEGER NOT NULL,
    key_count INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE tombstones (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT,
    epoch TEXT NOT NULL,
    deleted_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tombstones_name ON tombstones (owner, name, deleted_at);
  CREATE INDEX tombstones_age ON tombstones (deleted_at);

  CREATE TABLE records (
    place INTEGER PRIMARY KEY,
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    data TEXT NOT NULL,
    expires_at INTEGER,
    UNIQUE (collection, id)
  ) STRICT;
  CREATE INDEX records_owner ON records (collection, owner);
  CREATE INDEX records_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;
  `,
  `
  ALTER TABLE messages ADD COLUMN covers TEXT;
  CREATE INDEX messages_summary ON messages (session_key, seq) WHERE covers IS NOT NULL;
  `,
  `
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ts INTEGER NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    user TEXT NOT NULL,
    method TEXT NOT NULL,
    credential TEXT,
    transport TEXT NOT NULL,
    remote TEXT NOT NULL,
    client_id TEXT NOT NULL,
    target TEXT,
    details TEXT,
    count INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX audit_user ON audit (user);
  CREATE INDEX audit_age ON audit (ts);
  `,
  `
  CREATE TABLE usage_days (
    user TEXT NOT NULL,
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    currency TEXT NOT NULL,
    calls INTEGER NOT NULL,
    unknown_calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (user, day, model, currency)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX usage_days_age ON usage_days (day);

  CREATE TABLE usage_sessions (
    session_key INTEGER NOT NULL,
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    currency TEXT NOT NULL,
    calls INTEGER NOT NULL,
    unknown_calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (session_key, day, model, currency)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX usage_sessions_age ON usage_sessions (day);
  `,
  `
  CREATE TABLE contents (
    content_key INTEGER PRIMARY KEY,
    sha256 TEXT UNIQUE,
    bytes INTEGER NOT NULL,
    pieces INTEGER NOT NULL,
    upload_id TEXT UNIQUE,
    user TEXT,
    expires_at INTEGER
  ) STRICT;
  CREATE INDEX contents_user ON contents (user) WHERE user IS NOT NULL;
  CREATE INDEX contents_expiry ON contents (expires_at) WHERE expires_at IS NOT NULL;

  CREATE TABLE pieces (
    content_key INTEGER NOT NULL,
    n INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (content_key, n)
  ) STRICT;

  CREATE TABLE holders (
    user TEXT NOT NULL,
    content_key INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    PRIMARY KEY (user, content_key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX holders_content ON holders (content_key);

  CREATE TABLE uploads (
    attachment_id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    content_key INTEGER NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    width INTEGER,
    height INTEGER,
    expires_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX uploads_user ON uploads (user);
  CREATE INDEX uploads_expiry ON uploads (expires_at);

  CREATE TABLE attachments (
    session_key INTEGER NOT NULL,
    attachment_id TEXT NOT NULL,
    content_key INTEGER NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    width INTEGER,
    height INTEGER,
    PRIMARY KEY (session_key, attachment_id)
  ) STRICT, WITHOUT ROWID;

  ALTER TABLE quotas ADD COLUMN attachment_count INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE quotas ADD COLUMN attachment_bytes INTEGER NOT NULL DEFAULT 0;
  `,
  `
  CREATE VIRTUAL TABLE search USING fts5(
    scope, words, content = '', columnsize = 0, prefix = '4', tokenize = 'unicode61 remove_diacritics 0'
  );
  CREATE TABLE search_rows (
    place INTEGER PRIMARY KEY,
    session_key INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    UNIQUE (session_key, message_id)
  ) STRICT;
  CREATE TABLE search_queue (
    place INTEGER PRIMARY KEY,
    session_key INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    UNIQUE (session_key, message_id)
  ) STRICT;
  CREATE TABLE search_moved (session_key INTEGER PRIMARY KEY) STRICT;

  INSERT INTO search_queue (session_key, message_id)
    SELECT session_key, message_id FROM messages
    WHERE status <> 'streaming' AND role IN ('user', 'assistant') ORDER BY message_id;
  CREATE TRIGGER search_said AFTER INSERT ON messages
    WHEN NEW.status <> 'streaming' AND NEW.role IN ('user', 'assistant')
    BEGIN INSERT OR IGNORE INTO search_queue (session_key, message_id) VALUES (NEW.session_key, NEW.message_id); END;
  CREATE TRIGGER search_completed AFTER UPDATE OF status ON messages
    WHEN OLD.status = 'streaming' AND NEW.status <> 'streaming' AND NEW.role IN ('user', 'assistant')
    BEGIN INSERT OR IGNORE INTO search_queue (session_key, message_id) VALUES (NEW.session_key, NEW.message_id); END;
  CREATE TRIGGER search_owned AFTER UPDATE OF owner ON sessions WHEN OLD.owner <> NEW.owner
    BEGIN INSERT OR IGNORE INTO search_moved (session_key) VALUES (NEW.session_key); END;
  `,
] as const;

export const SCHEMA_VERSION = MIGRATIONS.length;
const COPIES = " (agentbus.db.schema-N beside it is one, where there is one)";

/** Brings the schema up to date, or to another version, in one transaction. @throws GatewayError UNAVAILABLE when it is newer than this program. */
export function migrate(db: Database, upto: number = SCHEMA_VERSION): void {
  const version = knownVersion(db);
  if (version >= upto) return;
  db.run("BEGIN IMMEDIATE");
  for (const text of MIGRATIONS.slice(version, upto)) db.run(text);
  db.run(`PRAGMA user_version = ${upto}`);
  db.run("COMMIT");
}

/** The schema a database has. @throws GatewayError UNAVAILABLE when it is newer than this program */
export function knownVersion(db: Database): number {
  const version = userVersion(db);
  if (version > SCHEMA_VERSION) throw newerSchema(version, SCHEMA_VERSION, COPIES);
  return version;
}

/** The schema a database has, which may be that of a newer version; 0: none yet. */
export function userVersion(db: Database): number {
  return db.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version ?? 0;
}
