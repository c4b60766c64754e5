import type { Progress } from "./copy.ts";
import type { End } from "./end.ts";
import { groupsOf } from "./digest.ts";
import type { Group } from "./digest.ts";
import type { Key, Row, Table } from "./tables.ts";
import { keyOf, placeOf, tableNamed, TABLES } from "./tables.ts";

/** A table that is the same in both; `sha256` is that of its rows, epochs of sessions aside. */
export interface VerifiedTable {
  readonly table: string;
  readonly rows: number;
  readonly sha256: string;
}

export interface Verified {
  readonly tables: readonly VerifiedTable[];
  /** Files whose content was compared with the SHA-256 it is kept under. */
  readonly files: number;
  /** Of these, those whose content is another: in the source, too. */
  readonly damaged: number;
  /** What is not the same, a few of it; empty: everything is. */
  readonly differences: readonly string[];
  readonly differing: number;
}

/** Differences that are named. */
const NAMED = 10;
const EPOCH = /^[a-z0-9]{8}$/;

/** Reads both from end to end and compares them, session by session. */
export async function verify(
  source: End,
  target: End,
  onProgress: (progress: Progress) => void,
): Promise<Verified> {
  const found = new Findings(source);
  const tables: VerifiedTable[] = [];
  for (const table of TABLES) {
    const contents = table.name === "pieces" ? new Contents(target) : null;
    let rows = 0;
    const whole = new Bun.CryptoHasher("sha256");
    for await (const { one, other } of pairs(groupsOf(source, table), groupsOf(target, table))) {
      const fault = faultOf(one, other);
      if (fault !== null) await found.add(table, one ?? other, fault);
      if (other === null) continue;
      rows += other.rows;
      whole.update(other.digest);
      if (contents !== null) await found.check(table, one, other, await contents.sha256(other.group));
      onProgress({ step: "verify", table: table.name, rows, done: false });
    }
    tables.push({ table: table.name, rows, sha256: whole.digest("hex") });
    onProgress({ step: "verify", table: table.name, rows, done: true });
  }
  const { files, damaged, differences, differing } = found;
  return { tables, files, damaged, differences, differing };
}

interface Pair {
  readonly one: Group | null;
  readonly other: Group | null;
}

/** The groups of both that have the same number; null where one has none. Both come in the order of their numbers. */
async function* pairs(ones: AsyncGenerator<Group>, others: AsyncGenerator<Group>): AsyncGenerator<Pair> {
  const nextOf = async (groups: AsyncGenerator<Group>): Promise<Group | null> => {
    const next = await groups.next();
    return next.done === true ? null : next.value;
  };
  let [one, other] = await Promise.all([nextOf(ones), nextOf(others)]);
  while (one !== null || other !== null) {
    const before = one === null ? 1 : other === null ? -1 : one.group - other.group;
    yield { one: before <= 0 ? one : null, other: before >= 0 ? other : null };
    [one, other] = await Promise.all([
      before <= 0 ? nextOf(ones) : one,
      before >= 0 ? nextOf(others) : other,
    ]);
  }
}

function faultOf(one: Group | null, other: Group | null): string | null {
  if (other === null) return `${one?.rows ?? 0} rows are missing`;
  if (one === null) return `${other.rows} rows are there that the source has not`;
  if (one.rows !== other.rows) return `${other.rows} rows of ${one.rows}`;
  if (one.digest !== other.digest) return "not the same";
  if (other.epoch === null) return null;
  return other.epoch === one.epoch || !EPOCH.test(other.epoch) ? "its epoch is no new one" : null;
}

class Findings {
  readonly differences: string[] = [];
  differing = 0;
  files = 0;
  damaged = 0;
  readonly #source: End;

  constructor(source: End) {
    this.#source = source;
  }

  async add(table: Table, group: Group | null, fault: string): Promise<void> {
    this.differing++;
    if (this.differences.length >= NAMED) return;
    this.differences.push(`${table.name}${await this.#nameOf(table, group)}: ${fault}`);
  }

  /** What a file is kept under tells what it has to be. */
  async check(table: Table, one: Group | null, other: Group, sha256: string | null): Promise<void> {
    if (sha256 === null) return;
    this.files++;
    if (other.content === sha256) return;
    if (one?.content === other.content) this.damaged++;
    else await this.add(table, other, "the content is not what its SHA-256 says");
  }

  async #nameOf({ key }: Table, group: Group | null): Promise<string> {
    if (group === null || key[0] === undefined) return "";
    if (key[0] === "content_key") return ` of content ${group.group}`;
    if (key[0] !== "session_key") return "";
    const id = await this.#source.ask(`SELECT id FROM sessions WHERE session_key = ${group.group}`);
    return ` of session ${id === "" ? group.group : id}`;
  }
}

/** Under which SHA-256 contents are kept, read along with their pieces. */
class Contents {
  readonly #end: End;
  readonly #table = tableNamed("contents");
  #rows: readonly Row[] = [];
  #next: Key | null = null;
  #isAtEnd = false;

  constructor(end: End) {
    this.#end = end;
  }

  /** Null: it is not whole yet, or is not there. Asked for in the order of the keys. */
  async sha256(content_key: number): Promise<string | null> {
    for (;;) {
      const at = this.#rows.findIndex((row) => Number(keyOf(this.#table, row)[0]) >= content_key);
      if (at >= 0) {
        this.#rows = this.#rows.slice(at);
        const row = this.#rows[0];
        if (row === undefined || Number(keyOf(this.#table, row)[0]) !== content_key) return null;
        return row[placeOf(this.#table, "sha256")] as string | null;
      }
      if (this.#isAtEnd) return null;
      const batch = await this.#end.read(this.#table, this.#next);
      this.#rows = batch.rows;
      this.#next = batch.next;
      this.#isAtEnd = batch.next === null;
    }
  }
}
