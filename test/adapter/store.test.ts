import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { storeClock } from "./store.builders.ts";
import { storeConformance } from "./store.conformance.ts";
import { openSqlite } from "./store.sqlite.ts";

storeConformance("memory", async (changes) => {
  const clock = storeClock();
  const limits = { ...DEFAULT_LIMITS, ...changes };
  const store = createMemoryStore({ clock, limits });
  await store.open();
  return { store, clock, limits, [Symbol.asyncDispose]: () => store.close() };
});

storeConformance("sqlite", (limits) => openSqlite({ limits }));
