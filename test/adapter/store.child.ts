// A process with a store of its own. argv: mode, data_dir. Says one JSON line per step on stdout.
import { append, commitAll, create, event, startRun } from "./store.builders.ts";
import { sqliteStore } from "./store.sqlite.ts";

const [mode, data_dir] = process.argv.slice(2);
if (mode === undefined || data_dir === undefined) throw new Error("usage: store.child.ts MODE DATA_DIR");

function say(line: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const { store } = sqliteStore(data_dir, {
  durability: mode.endsWith("-normal") ? "normal" : "full",
  boot_id: () => "boot-1",
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

await commitAll(store, create("ses_idle"), create("ses_busy"), startRun("ses_busy", "run_1"));
let head = 3;
for (;;) {
  const events = [event("message.delta", { n: head }, { run_id: "run_1" })];
  await commitAll(store, { ...append("ses_busy", events), ack: head % 10 === 0 }, append("ses_idle", []));
  head++;
  say({ head });
}
