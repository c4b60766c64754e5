import type { Database } from "bun:sqlite";
import { setPriority } from "node:os";
import { GatewayError } from "../../protocol/errors.ts";
import { backUp } from "./backup.ts";
import type { Held } from "./database.ts";
import { describeError, hold, openReadonly } from "./database.ts";
import type { Reads } from "./reads.ts";
import { createReads } from "./reads.ts";
import type { ReaderRequest, Reply } from "./threads.ts";

interface Reading {
  readonly db: Database;
  readonly reads: Reads;
  readonly begin: Held<never>;
  readonly end: Held<never>;
}

let reading: Reading | null = null;

self.onmessage = (event: MessageEvent<ReaderRequest>): void => {
  let reply: Reply;
  try {
    reply = { ok: true, value: answer(event.data) };
  } catch (error) {
    const message = describeError(error);
    const details = error instanceof GatewayError ? (error.details ?? {}) : null;
    reply = { ok: false, fault: { message, refused: null, details } };
  }
  self.postMessage(reply);
};

function answer(request: ReaderRequest): unknown {
  if (request.op === "open") {
    const db = openReadonly(request.path);
    reading = { db, reads: createReads(db), begin: hold(db, "BEGIN"), end: hold(db, "COMMIT") };
    return null;
  }
  if (request.op === "backup") {
    yieldProcessor();
    return backUp(request.data_dir, request.file);
  }
  if (reading === null) throw new Error("the reader has no database");
  const { db, reads, begin, end } = reading;
  if (request.op === "close") {
    db.close(true);
    reading = null;
    return null;
  }
  const read = reads[request.method as keyof Reads] as (...args: readonly unknown[]) => unknown;
  begin.run();
  try {
    return read(...request.args);
  } finally {
    end.run();
  }
}

const LOW_PRIORITY = 10;

/** Whoever answers somebody comes first. On Linux a priority is that of the thread which asks for it. */
function yieldProcessor(): void {
  if (process.platform !== "linux") return;
  try {
    setPriority(LOW_PRIORITY);
  } catch {
    // Then it has the claim of everybody else.
  }
}
