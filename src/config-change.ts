import type { Config } from "./config.ts";
import { printedValues } from "./config/print.ts";
import { entryOf } from "./core/audit.ts";
import type { Clock } from "./core/ports.ts";
import type { Engine } from "./engine.ts";

const COLLECTION = "config";
/** Where no other node shares the store. */
const ID = "values";
/** Options that are named; of more only the number. */
const NAMED = 40;
const DIGEST_CHARS = 16;

/**
 * Once at a start: whether the configuration is still that of the start before goes into the audit trail, with the
 * names of the options that are not. Secrets are masked before they are looked at: one that only changed does not show.
 */
export async function noteConfiguration(engine: Engine, config: Config, clock: Clock): Promise<void> {
  const now = digests(config);
  const kept = await engine.store.record(COLLECTION, idOf(engine));
  const before = kept === null ? null : (JSON.parse(kept.data) as Record<string, string>);
  const changed = before === null ? [] : changedOptions(before, now);
  if (before === null || changed.length > 0) note({ engine, clock, now, changed, isFirst: before === null });
}

/** After a reload: the options that have another value now, secrets among them, go into the audit trail by name. */
export function noteReload(engine: Engine, config: Config, clock: Clock, changed: readonly string[]): void {
  note({ engine, clock, now: digests(config), changed, isFirst: false });
}

interface Note {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly now: Record<string, string>;
  readonly changed: readonly string[];
  /** There was none to compare with. */
  readonly isFirst: boolean;
}

function note({ engine, clock, now, changed, isFirst }: Note): void {
  const record = {
    collection: COLLECTION,
    id: idOf(engine),
    owner: "",
    data: JSON.stringify(now),
    expires_at: null,
  };
  const details = JSON.stringify({ options: changed.slice(0, NAMED), count: changed.length });
  const entry = entryOf({ action: "config.change", transport: "local", details }, clock.now());
  engine.journal.append({
    session: null,
    run: null,
    ack: false,
    events: [],
    rows: [{ kind: "record.put", record }, ...(isFirst ? [] : [{ kind: "audit", entry } as const])],
    // Where storage refuses it, the next start notices.
    settle: () => undefined,
  });
}

/** Each node has a configuration of its own. */
function idOf({ store }: Engine): string {
  return store.cluster?.node() ?? ID;
}

function digests(config: Config): Record<string, string> {
  const digest = (text: string): string => new Bun.CryptoHasher("sha256").update(text).digest("hex");
  return Object.fromEntries(
    [...printedValues(config)].map(([path, value]) => [path, digest(value).slice(0, DIGEST_CHARS)]),
  );
}

function changedOptions(before: Record<string, string>, now: Record<string, string>): string[] {
  const paths = new Set([...Object.keys(before), ...Object.keys(now)]);
  return [...paths].filter((path) => before[path] !== now[path]);
}
