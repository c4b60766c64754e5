import type { Limits } from "../../core/limits.ts";
import type { ItemResult, RowChange, SessionRow } from "../../core/operation.ts";
import { withinTtl } from "../rules.ts";
import type { MemoryKey, MemoryState } from "./state.ts";
import { pair } from "./state.ts";

type Refused = Extract<ItemResult, { ok: false }>;
type KeyFields = Omit<Extract<RowChange, { kind: "idempotency" }>, "kind">;

/** Whether the key of a request may be taken: null, or why not. */
export function checkKey(state: MemoryState, limits: Limits, row: KeyFields): Refused | null {
  const live = (key: { created_at: number }) =>
    withinTtl(key.created_at, limits.key_ttl_secs, row.created_at);
  const prior = state.keys.get(pair(row.user, row.key));
  if (prior !== undefined && live(prior)) return { ok: false, reason: "idempotent", prior: prior.row };
  const held = [...state.keys.values()].filter((key) => key.user === row.user && live(key)).length;
  return held < limits.keys_per_user ? null : { ok: false, reason: "full", what: "keys_per_user" };
}

/** What is kept of a request's key, with the session it was about. */
export function keyOf(
  { user, fingerprint, answer, created_at }: KeyFields,
  session: Pick<SessionRow, "id" | "epoch"> | null,
  seq: number,
): MemoryKey {
  const row = {
    fingerprint,
    answer,
    session: session?.id ?? null,
    epoch: session?.epoch ?? null,
    seq,
  };
  return { user, row, created_at };
}
