import { setDefaultTimeout } from "bun:test";
import { hasPostgres, testCluster } from "../support/postgres.ts";
import { storeConformance } from "./store.conformance.ts";
import { openPostgres } from "./store.postgres.ts";

// A test that is too slow has its server ended with it.
setDefaultTimeout(60_000);

if (hasPostgres) {
  // Before the first test, whose time does not count it.
  await testCluster();
  storeConformance("postgres", (limits) => openPostgres({ limits }));
}
