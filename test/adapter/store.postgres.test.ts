import { hasPostgres, testCluster } from "../support/postgres.ts";
import { storeConformance } from "./store.conformance.ts";
import { openPostgres } from "./store.postgres.ts";

if (hasPostgres) {
  // Before the first test, whose time does not count it.
  await testCluster();
  storeConformance("postgres", (limits) => openPostgres({ limits }));
}
