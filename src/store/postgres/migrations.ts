/**
 * One text per version of the schema, applied in order, never changed once released; `meta.schema` counts them.
 * A session's log is the rows of `events` in (floor, head]; every other row is written in the transaction of its event.
 * What grows with sessions begins with `session_key`, so that it can be spread by it. Texts are compared as bytes. JSON is
 * kept as the text it came as: another form of it would not be what was hashed and shown.
 */
export const MIGRATIONS = [
  `
  CREATE TABLE nodes (
    boot text COLLATE "C" PRIMARY KEY,
    node_key text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL
  );
  -- Beside nodes, whose row is renewed while a group is on its way.
  CREATE TABLE node_groups (
    boot text COLLATE "C" PRIMARY KEY,
    group_no bigint NOT NULL
  ) WITH (fillfactor = 20);

  -- No index is over what changes with every event, so that such a change needs none of them.
  CREATE TABLE sessions (
    session_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    owner text COLLATE "C" NOT NULL,
    name text COLLATE "C",
    name_folded text COLLATE "C",
    state text COLLATE "C" NOT NULL CHECK (state IN ('live', 'copying', 'deleting')),
    epoch text COLLATE "C" NOT NULL,
    owner_boot text COLLATE "C",
    fence bigint NOT NULL,
    floor bigint NOT NULL,
    head bigint NOT NULL CHECK (head >= floor),
    message_count bigint NOT NULL,
    active_run_id text COLLATE "C",
    archived boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    title text COLLATE "C" NOT NULL,
    title_folded text COLLATE "C" NOT NULL,
    model text COLLATE "C",
    metadata text COLLATE "C" NOT NULL,
    system_prompt text COLLATE "C",
    recent bigint GENERATED ALWAYS AS (updated_at / 60000) STORED,
    has_log boolean GENERATED ALWAYS AS (head > floor) STORED
  ) WITH (fillfactor = 70);
  CREATE UNIQUE INDEX sessions_name ON sessions (owner, name) WHERE name IS NOT NULL;
  CREATE INDEX sessions_recent ON sessions (owner, recent);
  CREATE INDEX sessions_unsettled ON sessions (state) WHERE state <> 'live';
  CREATE INDEX sessions_log ON sessions (session_key) WHERE has_log;

  CREATE TABLE events (
    session_key bigint NOT NULL,
    seq bigint NOT NULL,
    ts bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    run_id text COLLATE "C",
    payload text COLLATE "C" NOT NULL,
    PRIMARY KEY (session_key, seq)
  );

  CREATE TABLE messages (
    session_key bigint NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    role text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    run_id text COLLATE "C",
    covers text COLLATE "C",
    data text COLLATE "C" NOT NULL,
    PRIMARY KEY (session_key, message_id)
  );
  CREATE INDEX messages_seq ON messages (session_key, seq);
  CREATE INDEX messages_open ON messages (session_key, seq) WHERE status = 'streaming';
  CREATE INDEX messages_summary ON messages (session_key, seq) WHERE covers IS NOT NULL;

  CREATE TABLE runs (
    run_id text COLLATE "C" PRIMARY KEY,
    session_key bigint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    first_seq bigint NOT NULL,
    created_at bigint NOT NULL,
    data text COLLATE "C" NOT NULL
  );
  CREATE INDEX runs_session ON runs (session_key, created_at, run_id);
  CREATE INDEX runs_owner ON runs (owner, created_at, run_id);
  CREATE INDEX runs_unended ON runs (session_key, first_seq) WHERE status IN ('queued', 'running');

  CREATE TABLE copies (
    session_key bigint PRIMARY KEY,
    source text COLLATE "C" NOT NULL,
    copied_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    skip text[] COLLATE "C" NOT NULL
  );

  CREATE TABLE idempotency (
    username text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    answer text COLLATE "C" NOT NULL,
    session text COLLATE "C",
    epoch text COLLATE "C",
    seq bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (username, key)
  );
  CREATE INDEX idempotency_user ON idempotency (username, created_at);
  CREATE INDEX idempotency_age ON idempotency (created_at);

  -- Its row is locked by whoever changes what the user holds: nothing else of the user's is counted meanwhile.
  CREATE TABLE quotas (
    username text COLLATE "C" PRIMARY KEY,
    session_count bigint NOT NULL,
    key_count bigint NOT NULL,
    attachment_count bigint NOT NULL,
    attachment_bytes bigint NOT NULL
  ) WITH (fillfactor = 70);

  CREATE TABLE tombstones (
    id text COLLATE "C" PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    name text COLLATE "C",
    epoch text COLLATE "C" NOT NULL,
    deleted_at bigint NOT NULL
  );
  CREATE INDEX tombstones_name ON tombstones (owner, name, deleted_at);
  CREATE INDEX tombstones_age ON tombstones (deleted_at);

  CREATE TABLE records (
    collection text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    place bigint GENERATED ALWAYS AS IDENTITY,
    owner text COLLATE "C" NOT NULL,
    data text COLLATE "C" NOT NULL,
    expires_at bigint,
    PRIMARY KEY (collection, id)
  );
  CREATE INDEX records_owner ON records (collection, owner);
  CREATE INDEX records_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;

  CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts bigint NOT NULL,
    action text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    username text COLLATE "C" NOT NULL,
    method text COLLATE "C" NOT NULL,
    credential text COLLATE "C",
    transport text COLLATE "C" NOT NULL,
    remote text COLLATE "C" NOT NULL,
    client_id text COLLATE "C" NOT NULL,
    target text COLLATE "C",
    details text COLLATE "C",
    count bigint NOT NULL
  );
  CREATE INDEX audit_user ON audit (username);
  CREATE INDEX audit_age ON audit (ts);

  CREATE TABLE usage_days (
    username text COLLATE "C" NOT NULL,
    day text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    calls bigint NOT NULL,
    unknown_calls bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    cost bigint NOT NULL,
    PRIMARY KEY (username, day, model, currency)
  );
  CREATE INDEX usage_days_age ON usage_days (day);
  CREATE TABLE usage_sessions (
    session_key bigint NOT NULL,
    day text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    calls bigint NOT NULL,
    unknown_calls bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    cost bigint NOT NULL,
    PRIMARY KEY (session_key, day, model, currency)
  );
  CREATE INDEX usage_sessions_age ON usage_sessions (day);

  CREATE TABLE contents (
    content_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256 text COLLATE "C" UNIQUE,
    bytes bigint NOT NULL,
    pieces bigint NOT NULL,
    upload_id text COLLATE "C" UNIQUE,
    username text COLLATE "C",
    expires_at bigint
  );
  CREATE INDEX contents_user ON contents (username) WHERE username IS NOT NULL;
  CREATE INDEX contents_expiry ON contents (expires_at) WHERE expires_at IS NOT NULL;
  CREATE TABLE pieces (
    content_key bigint NOT NULL,
    n bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (content_key, n)
  );
  -- Files are compressed already, as far as they can be.
  ALTER TABLE pieces ALTER COLUMN data SET STORAGE EXTERNAL;
  CREATE TABLE holders (
    username text COLLATE "C" NOT NULL,
    content_key bigint NOT NULL,
    uses bigint NOT NULL,
    PRIMARY KEY (username, content_key)
  );
  CREATE INDEX holders_content ON holders (content_key);
  CREATE TABLE uploads (
    attachment_id text COLLATE "C" PRIMARY KEY,
    username text COLLATE "C" NOT NULL,
    content_key bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    media_type text COLLATE "C" NOT NULL,
    width bigint,
    height bigint,
    expires_at bigint NOT NULL
  );
  CREATE INDEX uploads_user ON uploads (username);
  CREATE INDEX uploads_expiry ON uploads (expires_at);
  CREATE TABLE attachments (
    session_key bigint NOT NULL,
    attachment_id text COLLATE "C" NOT NULL,
    content_key bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    media_type text COLLATE "C" NOT NULL,
    width bigint,
    height bigint,
    PRIMARY KEY (session_key, attachment_id)
  );

  CREATE TABLE search_queue (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_key bigint NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    UNIQUE (session_key, message_id)
  );
  CREATE TABLE search_words (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_key bigint NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    words tsvector NOT NULL,
    UNIQUE (session_key, message_id)
  );
  CREATE INDEX search_found ON search_words USING gin (words);
  CREATE TABLE search_moved (session_key bigint PRIMARY KEY);
  `,
  `
  -- What one node asks of the node that has a session, until it is answered.
  CREATE TABLE calls (
    id text COLLATE "C" PRIMARY KEY,
    place bigint GENERATED ALWAYS AS IDENTITY,
    session text COLLATE "C" NOT NULL,
    from_boot text COLLATE "C" NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    body text COLLATE "C" NOT NULL,
    answer text COLLATE "C",
    answered_at timestamptz
  );
  CREATE INDEX calls_open ON calls (session, place) WHERE answer IS NULL;
  CREATE INDEX calls_age ON calls (answered_at, made_at);
  CREATE INDEX sessions_owner ON sessions (owner_boot) WHERE owner_boot IS NOT NULL;
  `,
  `
  -- What nodes say to one another that is too long for a notification. After a crash of the server nobody waits for it.
  CREATE UNLOGGED TABLE parcels (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    body text COLLATE "C" NOT NULL
  );
  CREATE INDEX parcels_age ON parcels (made_at);
  `,
  `
  -- What a node says of itself, as JSON.
  ALTER TABLE nodes ADD COLUMN facts text COLLATE "C" NOT NULL DEFAULT '{}';
  `,
] as const;
