import { Database } from "bun:sqlite";

interface Row {
  readonly user: string;
  readonly content_key: number;
}

/** What is wrong with the files in a database: nothing, whenever the process that wrote them was stopped. */
export function fileFaults(path: string): string[] {
  using db = new Database(path, { readonly: true, strict: true });
  // All of it at one moment.
  db.run("BEGIN");
  const rows = [
    ...all<Row>(db, "SELECT user, content_key FROM uploads"),
    ...all<Row>(
      db,
      "SELECT s.owner AS user, a.content_key FROM attachments AS a JOIN sessions AS s USING (session_key)",
    ),
  ];
  return [...contentFaults(db, rows), ...countFaults(db, rows), ...messageFaults(db)];
}

function all<T>(db: Database, sql: string): T[] {
  return db.query<T, []>(sql).all();
}

function contentFaults(db: Database, rows: readonly Row[]): string[] {
  interface Content {
    readonly content_key: number;
    readonly sha256: string | null;
    readonly bytes: number;
    readonly expires_at: number | null;
  }
  const contents = new Map(
    all<Content>(db, "SELECT * FROM contents").map((each) => [each.content_key, each]),
  );
  const pieces = db.query<{ n: number; data: Uint8Array }, [number]>(
    "SELECT n, data FROM pieces WHERE content_key = ? ORDER BY n",
  );
  const faults: string[] = [];
  for (const { content_key } of rows) {
    if ((contents.get(content_key)?.sha256 ?? null) === null)
      faults.push(`${content_key} is named and not there`);
  }
  const named = new Set(rows.map(({ content_key }) => content_key));
  for (const { content_key, sha256, bytes, expires_at } of contents.values()) {
    if (sha256 === null) {
      if (expires_at === null) faults.push(`${content_key} is not whole and never expires`);
      continue;
    }
    if (!named.has(content_key)) faults.push(`${content_key} is kept and nobody names it`);
    const found = pieces.all(content_key);
    const hasher = new Bun.CryptoHasher("sha256");
    for (const { data } of found) hasher.update(data);
    const size = found.reduce((sum, { data }) => sum + data.length, 0);
    if (size !== bytes || hasher.digest("hex") !== sha256) faults.push(`${content_key} is not what it was`);
    if (found.some(({ n }, at) => n !== at)) faults.push(`${content_key} has a hole`);
  }
  const [stray] = all<{ pieces: number }>(
    db,
    "SELECT COUNT(*) AS pieces FROM pieces WHERE content_key NOT IN (SELECT content_key FROM contents)",
  );
  if (stray?.pieces !== 0) faults.push(`${stray?.pieces} pieces belong to nothing`);
  return faults;
}

/** What is counted is what there is. */
function countFaults(db: Database, rows: readonly Row[]): string[] {
  const uses = new Map<string, number>();
  for (const { user, content_key } of rows) {
    const key = `${user} ${content_key}`;
    uses.set(key, (uses.get(key) ?? 0) + 1);
  }
  const held = all<Row & { uses: number; bytes: number }>(
    db,
    "SELECT h.user, h.content_key, h.uses, c.bytes FROM holders AS h LEFT JOIN contents AS c USING (content_key)",
  );
  const counted = held.map(
    ({ user, content_key, uses: count }) => [`${user} ${content_key}`, count] as const,
  );
  const faults = differences("uses", uses, new Map(counted));
  const files = new Map<string, number>();
  const bytes = new Map<string, number>();
  const add = (map: Map<string, number>, user: string, more: number): void =>
    void map.set(user, (map.get(user) ?? 0) + more);
  for (const each of held) {
    add(files, each.user, each.uses);
    add(bytes, each.user, each.bytes);
  }
  for (const each of all<{ user: string; bytes: number }>(
    db,
    "SELECT user, bytes FROM contents WHERE user IS NOT NULL",
  )) {
    add(files, each.user, 1);
    add(bytes, each.user, each.bytes);
  }
  const quotas = all<{ user: string; files: number; bytes: number }>(
    db,
    `SELECT user, attachment_count AS files, attachment_bytes AS bytes FROM quotas
     WHERE attachment_count <> 0 OR attachment_bytes <> 0`,
  );
  return [
    ...faults,
    ...differences("files", files, new Map(quotas.map((each) => [each.user, each.files]))),
    ...differences("bytes", bytes, new Map(quotas.map((each) => [each.user, each.bytes]))),
  ];
}

function differences(what: string, is: Map<string, number>, counted: Map<string, number>): string[] {
  return [...new Set([...is.keys(), ...counted.keys()])]
    .filter((key) => (is.get(key) ?? 0) !== (counted.get(key) ?? 0))
    .map((key) => `${what} of ${key}: ${is.get(key) ?? 0}, counted ${counted.get(key) ?? 0}`);
}

/** Every file that a message names is its session's. */
function messageFaults(db: Database): string[] {
  return all<{ session_key: number; attachment_id: string }>(
    db,
    `SELECT m.session_key, part.value ->> 'attachment_id' AS attachment_id
     FROM messages AS m JOIN sessions AS s USING (session_key), json_each(m.data, '$.parts') AS part
     WHERE s.state = 'live' AND part.value ->> 'attachment_id' IS NOT NULL AND NOT EXISTS
       (SELECT 1 FROM attachments AS a
        WHERE a.session_key = m.session_key AND a.attachment_id = part.value ->> 'attachment_id')`,
  ).map(
    ({ session_key, attachment_id }) =>
      `a message in ${session_key} names ${attachment_id}, which is not there`,
  );
}
