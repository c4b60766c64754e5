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
/** How many different ones of an action and a user are told apart meanwhile: those over it share an entry for each outcome. */
const REFUSED_KINDS = 64;
const OK_KINDS = 256;
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
    this.#refused = new Tally(options.clock, { window_ms: REFUSED_MS, kinds: REFUSED_KINDS }, record);
    this.#admitted = new Tally(options.clock, { window_ms: OK_MS, kinds: OK_KINDS }, record);
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

interface TallyBounds {
  readonly window_ms: number;
  /** Of each action and user, so that a flood of one hides nothing of another. */
  readonly kinds: number;
}

/** Counts what comes often, by kind, for a window that begins with the first. */
class Tally {
  readonly #clock: Clock;
  readonly #bounds: TallyBounds;
  readonly #record: (entry: AuditEntry) => void;
  /** By action and user, then by everything that makes a kind. */
  readonly #groups = new Map<string, Map<string, Kind>>();
  #cancel: (() => void) | null = null;

  constructor(clock: Clock, bounds: TallyBounds, record: (entry: AuditEntry) => void) {
    this.#clock = clock;
    this.#bounds = bounds;
    this.#record = record;
  }

  add(entry: AuditEntry): void {
    this.#cancel ??= this.#clock.after(this.#bounds.window_ms, () => this.flush());
    const { ts, action, outcome, user } = entry;
    const group = `${action} ${user}`;
    const kinds = this.#groups.get(group) ?? new Map<string, Kind>();
    this.#groups.set(group, kinds);
    const known = kinds.get(keyOf(entry));
    if (known !== undefined) return count(known, entry);
    if (kinds.size < this.#bounds.kinds) {
      kinds.set(keyOf(entry), { entry, more: 0 });
      return this.#record(entry);
    }
    const any = entryOf({ action, outcome, user, remote: ANYWHERE }, ts);
    const rest = kinds.get(keyOf(any));
    if (rest !== undefined) return count(rest, any);
    kinds.set(keyOf(any), { entry: any, more: 1 });
    return undefined;
  }

  flush(): void {
    this.#cancel?.();
    this.#cancel = null;
    for (const kinds of this.#groups.values()) {
      for (const { entry, more } of kinds.values()) if (more > 0) this.#record({ ...entry, count: more });
    }
    this.#groups.clear();
  }
}

function keyOf({ outcome, user, method, credential, transport, remote }: AuditEntry): string {
  return JSON.stringify([outcome, user, method, credential, transport, remote]);
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
