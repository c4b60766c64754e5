import { expect, test } from "bun:test";
import { Grants } from "../../src/core/grants.ts";
import type { Store } from "../../src/core/store.ts";

test("a read that fails while a tool is allowed is nobody's unhandled error, and is done again", async () => {
  const read = Promise.withResolvers<never>();
  let reads = 0;
  const records = (): Promise<never[]> => (reads++ === 0 ? read.promise : Promise.resolve([]));
  const grants = new Grants({ records } as Partial<Store> as Store);
  const session = { id: "ses_1", owner: "ann", name: null };
  const first = grants.of(session);
  grants.added(session, "shell");
  // Bun's runner fails a test for a rejection that nobody handles.
  read.reject(new Error("the disk"));
  expect(await first).toEqual(new Set());
  await new Promise((resolve) => setImmediate(resolve));
  expect(await grants.of(session)).toEqual(new Set());
  expect(reads).toBe(2);
});
