import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";

const PLACE = resolve(import.meta.dir, "../../dist/locks");
const LOOK_MS = 100;
/** What is held by this process: a lock that nobody had in hand would be collected, and with it given up. */
const held = new Set<Database>();

/**
 * Does something that only one process of this clone may do at a time: test files run beside one another. Held until `work`
 * settles, so that has to end by itself: the end of a test does not end it. Never for something that holds the same one.
 */
export async function exclusive<T>(name: string, work: () => Promise<T>): Promise<T> {
  await using _held = await hold(name);
  return await work();
}

/** As `exclusive`, for longer than one function: until it is disposed of. */
export async function hold(name: string): Promise<AsyncDisposable> {
  mkdirSync(PLACE, { recursive: true });
  // A lock of SQLite is the system's: it goes with the process, however that ends.
  const lock = new Database(join(PLACE, `${name}.db`), { create: true });
  while (!isTaken(lock)) await Bun.sleep(LOOK_MS);
  held.add(lock);
  return {
    async [Symbol.asyncDispose]() {
      held.delete(lock);
      lock.close(true);
    },
  };
}

function isTaken(lock: Database): boolean {
  try {
    lock.run("BEGIN EXCLUSIVE");
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "SQLITE_BUSY") return false;
    throw error;
  }
}
