import type { Database } from "bun:sqlite";
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
    reply = {
      ok: false,
      fault: { message: describeError(error), refused: null, details: null },
    };
  }
  self.postMessage(reply);
};

function answer(request: ReaderRequest): unknown {
  if (request.op === "open") {
    const db = openReadonly(request.path);
    reading = { db, reads: createReads(db), begin: hold(db, "BEGIN"), end: hold(db, "COMMIT") };
    return null;
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
