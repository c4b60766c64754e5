import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import { GatewayError } from "../../protocol/errors.ts";
import { refuseDraft } from "../migration/unfinished.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { createCheckpoint } from "./checkpoint.ts";
import { describeError, openWritable, refusalOf } from "./database.ts";
import type { GroupWriter } from "./group-writer.ts";
import { createGroupWriter } from "./group-writer.ts";
import { packResult, unpackGroup } from "./packing.ts";
import { checkAtStart, checkLength } from "./start-check.ts";
import type { Scrub } from "./scrub.ts";
import { createScrub } from "./scrub.ts";
import { createShrink } from "./shrink.ts";
import { isStale } from "./search-words.ts";
import { bringUpToDate } from "./upgrade.ts";
import { markStopped, start } from "./start.ts";
import type { Fault, Reply, WriterRequest } from "./threads.ts";

interface Writing {
  /** What all of it looks at. */
  readonly limits: Limits;
  readonly db: Database;
  readonly writer: GroupWriter;
  readonly checkpoint: Checkpoint;
  readonly scrub: Scrub;
  /** Gives some free pages back; whether it had any to give. */
  readonly shrink: () => boolean;
}

let writing: Writing | null = null;
let lost = false;

self.onmessage = (event: MessageEvent<WriterRequest>): void => {
  if (lost) return;
  try {
    answer(event.data);
  } catch (error) {
    lost = true;
    post({ lost: [describeError(error), ...letGo()].join("; then ") });
  }
};

/** Gives up the database, so that it is locked no longer; what went wrong with that. */
function letGo(): string[] {
  try {
    if (writing?.db.inTransaction === true) writing.db.run("ROLLBACK");
    writing?.db.close(true);
    writing?.checkpoint.close();
    return [];
  } catch (error) {
    return [describeError(error)];
  }
}

function post(reply: Reply): void {
  self.postMessage(reply);
}

function tell(doing: string): void {
  post({ doing });
}

/** Replies to one request. Throws where the outcome is unknown. */
function answer(request: WriterRequest): void {
  if (request.op === "open") return open(request);
  if (writing === null) throw new Error("the writer has no database");
  const { db, writer, checkpoint, scrub, shrink } = writing;
  switch (request.op) {
    case "commit":
      post({ ok: true, value: packResult(writer.apply(unpackGroup(request.group))) });
      // After the answer: whoever waits for it does not wait for this.
      return checkpoint.step();
    case "expire":
      attempt(() => writer.expire(request.now, request.max_rows));
      return checkpoint.step();
    case "index":
      attempt(() => writer.index(request.max_messages));
      return checkpoint.step();
    case "answer":
      return post({ ok: true, value: null });
    case "scrub":
      attempt(() => (isStale(db) ? "busy" : shrink() ? "more" : scrub.step()));
      return checkpoint.step();
    case "probe":
      return attempt(() => writer.transaction("FULL", () => probe(db)));
    case "limits":
      Object.assign(writing.limits, request.limits);
      return post({ ok: true, value: null });
    case "close":
      return attempt(() => {
        checkpoint.close();
        db.run("PRAGMA wal_checkpoint(TRUNCATE)");
        markStopped(db, writer);
        db.close(true);
        scrub.close();
        return null;
      });
  }
}

/** Replies with what `task` gives, or why storage refused. */
function attempt(task: () => unknown): void {
  try {
    post({ ok: true, value: task() });
  } catch (error) {
    const refused = refusalOf(error);
    if (refused === null) throw error;
    post({ ok: false, fault: { message: describeError(error), refused, details: null } });
  }
}

function open(request: Extract<WriterRequest, { op: "open" }>): void {
  let db: Database | null = null;
  try {
    refuseDraft(request.path);
    checkLength(request.path);
    db = openWritable(request.path, request.max_bytes);
    if (request.suspect)
      tell("reading all of the database, since the outcome of its last write is not known");
    checkAtStart(db, request.path, request.suspect);
    const upgraded = bringUpToDate(db, request.path, tell);
    const { limits } = request;
    const writer = createGroupWriter(db, limits, request.durability);
    const scrub = createScrub(db, request.path);
    const shrink = createShrink(db, (task) => writer.transaction("NORMAL", task));
    writing = { limits, db, writer, checkpoint: createCheckpoint(db, request.path), scrub, shrink };
    post({ ok: true, value: { ...start(db, writer, request), ...(upgraded !== null && { upgraded }) } });
  } catch (error) {
    writing = null;
    db?.close(true);
    post({ ok: false, fault: openFault(error, request.path) });
  }
}

const ADVICE: Record<string, string> = {
  SQLITE_NOTADB: "it is not an agentbus database: move it away, or choose another server.data_dir",
  SQLITE_CORRUPT:
    "it is damaged: put a backup in its place with agentbus restore, or save what can be read with agentbus repair",
  SQLITE_FULL: "the disk, or storage.max_bytes, is full: make room and start again",
  SQLITE_READONLY: "it is read-only: give this user write access to it and its directory",
  SQLITE_CANTOPEN: "it cannot be opened: give this user access to it and its directory",
  SQLITE_BUSY: "another program has it open for writing: close that one first",
};

function openFault(error: unknown, path: string): Fault {
  if (error instanceof GatewayError)
    return { message: error.message, refused: null, details: error.details ?? {} };
  const reason = describeError(error);
  const code = Object.keys(ADVICE).find((name) => reason.startsWith(name)) ?? "";
  const message = `cannot open ${path}: ${ADVICE[code] ?? "see the reason and start again"} (${reason})`;
  return { message, refused: refusalOf(error), details: { kind: "database" } };
}

/** The value changes each time: SQLite does not write a page that stays the same. */
function probe(db: Database): void {
  db.query(
    `INSERT INTO meta (name, value) VALUES ('probe', '1')
     ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)`,
  ).run();
}
