import type { Static } from "@sinclair/typebox";
import type { AuditRow } from "../core/operation.ts";
import type { Store } from "../core/store.ts";
import { lengthUtf8 } from "../core/text.ts";
import { auditList } from "../protocol/api/audit.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

const LIST_BYTES = 256 * 1024;

type Params = Static<typeof auditList.params>;
type Answer = Static<typeof auditList.result>;

export function auditMethods(deps: { readonly store: Store }): MethodHandler[] {
  return [handle(auditList, (params) => list(deps.store, params))];
}

async function list(store: Store, { limit = 50, cursor, ...filter }: Params): Promise<Answer> {
  const before = cursor === undefined ? {} : { before: Number(cursor) };
  const rows = await store.audit({ ...filter, ...before, limit: limit + 1 });
  const entries: Answer["entries"] = [];
  // What stands around the entries, and the cursor.
  let bytes = 256;
  for (const row of rows.slice(0, limit)) {
    const entry = viewOf(row);
    bytes += lengthUtf8(JSON.stringify(entry)) + 1;
    if (entries.length > 0 && bytes > LIST_BYTES) break;
    entries.push(entry);
  }
  const last = entries.at(-1);
  return { entries, ...(rows.length > entries.length && last !== undefined && { next: last.audit_id }) };
}

function viewOf({ id, credential, target, details, ...row }: AuditRow): Answer["entries"][number] {
  return {
    audit_id: String(id),
    ...row,
    ...(credential !== null && { credential }),
    ...(target !== null && { target }),
    ...(details !== null && { details: JSON.parse(details) as Record<string, unknown> }),
  };
}
