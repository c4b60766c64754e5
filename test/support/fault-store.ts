import type { GroupResult, ItemResult, StorageRefusal, StoreItem } from "../../src/core/operation.ts";
import type { Store } from "../../src/core/store.ts";
import { GatewayError } from "../../src/protocol/errors.ts";

type Refused = Extract<ItemResult, { ok: false }>;

/** What a test tells a store to go wrong with. Groups are counted from the call: 1 is the next one. */
export interface Faults {
  /** Every group that commit was called with, in order. */
  readonly groups: readonly (readonly StoreItem[])[];
  /** The nth group is refused and changes nothing. */
  refuse(reason: StorageRefusal, nth?: number): void;
  /** Everything that writes is refused, probe() included, until it is called with null. */
  outage(reason: StorageRefusal | null): void;
  /** The nth group rejects: its outcome is unknown to the caller. `applied`: the store took it all the same. */
  lose(nth?: number, applied?: boolean): void;
  /** The next `times` items that match fail with `result`, and later ones of their run in the group are skipped. */
  failItem(matches: (item: StoreItem) => boolean, result: Refused, times?: number): void;
  /** Groups wait, from the next one on; the answer lets them go. */
  hold(): () => void;
}

interface ItemFault {
  readonly matches: (item: StoreItem) => boolean;
  readonly result: Refused;
  left: number;
}

/** The same store, whose commit fails where `faults` says so. Everything else goes to `store`. */
export function withFaults(store: Store): { readonly store: Store; readonly faults: Faults } {
  const groups: (readonly StoreItem[])[] = [];
  const refused = new Map<number, StorageRefusal>();
  const lost = new Map<number, boolean>();
  const items: ItemFault[] = [];
  let out: StorageRefusal | null = null;
  let gate: PromiseWithResolvers<void> | null = null;

  async function commit(group: readonly StoreItem[]): Promise<GroupResult> {
    const number = groups.push(group);
    await gate?.promise;
    const reason = out ?? refused.get(number);
    if (reason !== undefined) return { ok: false, refused: reason };
    const applied = lost.get(number);
    if (applied === false) throw new Error("the outcome of the group is unknown");
    const result = await commitRest(store, group, items);
    if (applied === true) throw new Error("the outcome of the group is unknown");
    return result;
  }

  const whenWritable = <T>(write: () => Promise<T>): Promise<T> => {
    if (out === null) return write();
    const details = { kind: "storage", refused: out };
    return Promise.reject(new GatewayError("UNAVAILABLE", `storage refuses writes: ${out}`, { details }));
  };
  const overrides: Partial<Store> = {
    commit,
    probe: () => whenWritable(() => store.probe()),
    expire: (now, max_rows) => whenWritable(() => store.expire(now, max_rows)),
  };
  const faults: Faults = {
    groups,
    refuse: (reason, nth = 1) => void refused.set(groups.length + nth, reason),
    outage: (reason) => {
      out = reason;
    },
    lose: (nth = 1, applied = false) => void lost.set(groups.length + nth, applied),
    failItem: (matches, result, times = 1) => void items.push({ matches, result, left: times }),
    hold() {
      const mine = Promise.withResolvers<void>();
      gate = mine;
      return () => {
        if (gate === mine) gate = null;
        mine.resolve();
      };
    },
  };
  const faulty = new Proxy(store, {
    get(target, name) {
      const own = Reflect.get(overrides, name);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { store: faulty, faults };
}

/** Commits what is not told to fail, and answers for the rest. */
async function commitRest(
  store: Store,
  group: readonly StoreItem[],
  faults: readonly ItemFault[],
): Promise<GroupResult> {
  const failed = new Set<string>();
  const answers = group.map((item): Refused | null => {
    const run = item.kind === "append" ? item.run : null;
    if (run !== null && failed.has(run)) return { ok: false, reason: "skipped" };
    const fault = faults.find((one) => one.left > 0 && one.matches(item));
    if (fault === undefined) return null;
    fault.left--;
    if (run !== null) failed.add(run);
    return fault.result;
  });
  const result = await store.commit(group.filter((_, index) => answers[index] === null));
  if (!result.ok) return result;
  const rest = result.results[Symbol.iterator]();
  const results = answers.map((answer): ItemResult => {
    if (answer !== null) return answer;
    const next = rest.next();
    if (next.done === true) throw new Error("the store answered a group with a hole");
    return next.value;
  });
  return { ok: true, results };
}
