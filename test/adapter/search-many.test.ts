import { expect, test } from "bun:test";
import { ask, fill, vocabulary } from "../support/many-messages.ts";
import { openSqlite } from "./store.sqlite.ts";

const MESSAGES = 50_000;
/** Five times what is promised of a million. */
const P99_MS = 250;

test(`of ${MESSAGES} messages those are found at once that somebody looks for`, async () => {
  await using fixture = await openSqlite();
  const { store } = fixture;
  const words = vocabulary();
  await fill(store, MESSAGES, words);
  while ((await store.index(500)) > 0);
  const { times, answered } = await ask(store, words);
  expect(answered).toBeGreaterThan(200);
  const sorted = times.toSorted((one, other) => one - other);
  expect(sorted[Math.floor(sorted.length * 0.99)]).toBeLessThan(P99_MS);
}, 180_000);
