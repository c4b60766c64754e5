import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pause } from "./clock.ts";
import { fill, make, openJournal } from "./journal-load.ts";
import type { Quantiles } from "./numbers.ts";
import { quantiles } from "./numbers.ts";

/** What one of several nodes that write at the same time got done. */
export interface NodeLoad {
  readonly per_second: number;
  readonly commit_ms: Quantiles;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      url: { type: "string" },
      sessions: { type: "string" },
      from: { type: "string" },
      ms: { type: "string" },
    },
  });
  mkdirSync(join(process.cwd(), "data"), { recursive: true });
  const { journal, store } = await openJournal("full", values.url ?? null);
  const sessions = await Promise.all(
    Array.from({ length: Number(values.sessions ?? 64) }, (_, index) => make(journal, index)),
  );
  await fill(journal, sessions, 300, []);
  await pause(Number(values.from ?? 0) - Date.now());
  const times: number[] = [];
  const per_second = await fill(journal, sessions, Number(values.ms ?? 2_000), times);
  const result: NodeLoad = { per_second, commit_ms: quantiles(times) };
  journal.stop();
  await store.close();
  console.log(JSON.stringify({ result }));
  process.exit(0);
}
