import type { Journal } from "./journal.ts";
import type { AuditEntry, RowChange } from "./operation.ts";
import type { Clock, Logger } from "./ports.ts";

/** What is written together. */
const ROWS = 256;
/** Entries that wait for storage; more are lost, and the log says so. */
const WAITING_MAX = 4_096;
const RETRY_MS = 1_000;
/** How long the same refusal, or the same login, is only counted after its first entry. */
const REFUSED_MS = 10 * 60_000;
const OK_MS = 60 * 60_000;
/** How many different ones are told apart meanwhile: those over it share an entry for each action and outcome. */
const KINDS = 64;
const ANYWHERE = "*";

/** What nothing is known of. */
const NOBODY: Omit<AuditEntry, "ts" | "action"> = {
  outcome: "ok",
  user: "",
  method: "",
  credential: null,
  transport: "",
  remote: "",
  client_id: "",
  target: null,
  details: null,
  count: 1,
};

export type AuditFacts = Partial<AuditEntry> & Pick<AuditEntry, "action">;

export function entryOf(facts: AuditFacts, now: number): AuditEntry {
  return { ...NOBODY, ts: now, ...facts };
}

export interface AuditOptions {
  readonly journal: Pick<Journal, "append">;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The audit trail, for what has no operation of its own to ride in: nothing waits for these entries. What storage
 * refuses is tried again. An entry that belongs to a change goes into the operation of the change instead.
 */
export class Audit {
  readonly #options: AuditOptions;
  readonly #refused: Tally;
  readonly #admitted: Tally;
  #waiting: AuditEntry[] = [];
  #writing = false;
  #lost = 0;
  #cancel: () => void = () => undefined;

  constructor(options: AuditOptions) {
    this.#options = options;
    const record = (entry: AuditEntry): void => this.record(entry);
    this.#refused = new Tally(options.clock, REFUSED_MS, record);
    this.#admitted = new Tally(options.clock, OK_MS, record);
  }

  record(facts: AuditFacts): void {
    if (this.#waiting.length >= WAITING_MAX) {
      this.#lost++;
      return;
    }
    this.#waiting.push(entryOf(facts, this.#options.clock.now()));
    this.#write();
  }

  /**
   * As record, for what may come any number of times: the first of a kind is written at once, those that follow within
   * its window later, as one entry with their number. So a flood of guesses or refusals makes a bounded number of entries.
   */
  tally(facts: AuditFacts): void {
    const entry = entryOf(facts, this.#options.clock.now());
    (entry.outcome === "ok" ? this.#admitted : this.#refused).add(entry);
  }

  /** Writes what was only counted so far: before the journal is drained. Idempotent. */
  close(): void {
    this.#refused.flush();
    this.#admitted.flush();
    this.#cancel();
    this.#write();
  }

  #write(): void {
    if (this.#writing || this.#waiting.length === 0) return;
    this.#writing = true;
    const entries = this.#waiting.splice(0, ROWS);
    const rows = entries.map((entry): RowChange => ({ kind: "audit", entry }));
    this.#options.journal.append({
      session: null,
      run: null,
      ack: false,
      events: [],
      rows,
      settle: (outcome) => {
        this.#writing = false;
        if (outcome.ok) this.#written();
        else if (outcome.reason !== "stopped") this.#later(entries);
      },
    });
  }

  #written(): void {
    const { log } = this.#options;
    if (this.#lost > 0)
      log.error({ lost: this.#lost }, "storage refused for too long: audit entries are lost");
    this.#lost = 0;
    this.#write();
  }

  #later(entries: readonly AuditEntry[]): void {
    this.#waiting.unshift(...entries);
    this.#cancel();
    this.#cancel = this.#options.clock.after(RETRY_MS, () => this.#write());
  }
}

interface Kind {
  /** The last one. */
  entry: AuditEntry;
  /** How often it came since it was written. */
  more: number;
}

/** Counts what comes often, by kind, for a window that begins with the first. */
class Tally {
  readonly #clock: Clock;
  readonly #window_ms: number;
  readonly #record: (entry: AuditEntry) => void;
  readonly #kinds = new Map<string, Kind>();
  #cancel: (() => void) | null = null;

  constructor(clock: Clock, window_ms: number, record: (entry: AuditEntry) => void) {
    this.#clock = clock;
    this.#window_ms = window_ms;
    this.#record = record;
  }

  add(entry: AuditEntry): void {
    this.#cancel ??= this.#clock.after(this.#window_ms, () => this.flush());
    const known = this.#kinds.get(keyOf(entry));
    if (known !== undefined) return count(known, entry);
    if (this.#kinds.size < KINDS) {
      this.#kinds.set(keyOf(entry), { entry, more: 0 });
      return this.#record(entry);
    }
    const { ts, action, outcome } = entry;
    const any = entryOf({ action, outcome, remote: ANYWHERE }, ts);
    const rest = this.#kinds.get(keyOf(any));
    if (rest !== undefined) return count(rest, any);
    this.#kinds.set(keyOf(any), { entry: any, more: 1 });
    return undefined;
  }

  flush(): void {
    this.#cancel?.();
    this.#cancel = null;
    for (const { entry, more } of this.#kinds.values()) {
      if (more > 0) this.#record({ ...entry, count: more });
    }
    this.#kinds.clear();
  }
}

function keyOf({ action, outcome, user, method, credential, transport, remote }: AuditEntry): string {
  return JSON.stringify([action, outcome, user, method, credential, transport, remote]);
}

/** What differs between those that are counted together is left out. */
function count(kind: Kind, entry: AuditEntry): void {
  const { target, client_id, details } = kind.entry;
  kind.more++;
  kind.entry = {
    ...entry,
    target: entry.target === target ? target : null,
    client_id: entry.client_id === client_id ? client_id : "",
    details: entry.details === details ? details : null,
  };
}
