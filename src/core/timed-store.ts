import type { Histogram } from "./histogram.ts";
import type { Measures } from "./measures.ts";
import type { StoreItem } from "./operation.ts";
import type { Clock } from "./ports.ts";
import type { Store } from "./store.ts";

/** What readers and runs wait for, besides pages of logs. */
const READS: ReadonlySet<string> = new Set<keyof Store>([
  "snapshot",
  "history",
  "context",
  "runMessages",
  "session",
  "named",
  "deleted",
  "sessions",
  "archived",
  "owners",
  "run",
  "runs",
  "idempotency",
  "records",
  "record",
  "uploads",
  "attachment",
  "piece",
  "search",
  "audit",
  "usage",
  "trimmable",
  "totals",
  "room",
]);

type Work = (...args: never[]) => Promise<unknown>;

/** The store, its commits and reads timed; what fails took its time, too. `durability`: that of an acknowledgement. */
export function timeStore(
  store: Store,
  clock: Pick<Clock, "monotonic">,
  { commits, reads }: Pick<Measures, "commits" | "reads">,
  durability: "full" | "normal",
): Store {
  /** Whoever waits is answered in the same turn as without it. */
  function timed<T>(spent: Histogram, work: () => Promise<T>): Promise<T> {
    const began = clock.monotonic();
    const over = (): void => spent.observe((clock.monotonic() - began) / 1_000);
    const answer = work();
    answer.then(over, over);
    return answer;
  }
  const own: Partial<Store> = {
    commit: (group) => {
      const full = durability === "full" && group.some(isAcknowledged);
      return timed(full ? commits.full : commits.normal, () => store.commit(group));
    },
    page: (...args) => timed(reads.page, () => store.page(...args)),
  };
  const made = new Map<string | symbol, unknown>(Object.entries(own));
  return new Proxy(store, {
    get(target, name) {
      const known = made.get(name);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      const work = value.bind(target) as Work;
      const read: Work = (...args) => timed(reads.other, () => work(...args));
      const method = READS.has(String(name)) ? read : work;
      made.set(name, method);
      return method;
    },
  });
}

/** Whether a group with it waits for the disk. */
function isAcknowledged(item: StoreItem): boolean {
  return item.kind === "append" ? item.ack : item.kind === "erase" || item.kind === "copy";
}
