// A process with a store of its own. argv: mode, data_dir, limits as JSON. Says one JSON line per step on stdout.
// hold: only opens it. write: writes until it is killed. serve: commits the groups that come as lines on stdin.
// With -normal behind the mode its durability is normal.
import type { Limits } from "../../src/core/limits.ts";
import type { StoreItem } from "../../src/core/operation.ts";
import { append, commitAll, create, event, startRun } from "./store.builders.ts";
import { sqliteStore } from "./store.sqlite.ts";

const [mode, data_dir, limits = "{}"] = process.argv.slice(2);
if (mode === undefined || data_dir === undefined) throw new Error("usage: store.child.ts MODE DATA_DIR");

function say(line: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const { store } = sqliteStore(data_dir, {
  durability: mode.endsWith("-normal") ? "normal" : "full",
  boot_id: () => "boot-1",
  limits: JSON.parse(limits) as Partial<Limits>,
});
try {
  await store.open();
} catch (error) {
  say({ refused: error instanceof Error ? error.message : String(error) });
  process.exit(1);
}
say({ opened: process.pid });

if (mode === "hold") {
  // What only the collector could reach is collected; the lock must not be among it.
  Bun.gc(true);
  say({ collected: true });
  await new Promise(() => undefined);
}

if (mode.startsWith("serve")) {
  for await (const line of console) {
    if (line === "close") break;
    try {
      say({ answer: await store.commit(JSON.parse(line) as StoreItem[]) });
    } catch (error) {
      say({ error: error instanceof Error ? error.message : String(error) });
    }
  }
  await store.close();
  say({ closed: true });
  process.exit(0);
}

await commitAll(store, create("ses_idle"), create("ses_busy"), startRun("ses_busy", "run_1"));
let head = 3;
for (;;) {
  const events = [event("message.delta", { n: head }, { run_id: "run_1" })];
  await commitAll(store, { ...append("ses_busy", events), ack: head % 10 === 0 }, append("ses_idle", []));
  head++;
  say({ head });
}
