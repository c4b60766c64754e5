import type { Static } from "@sinclair/typebox";
import type { BudgetState } from "../core/spending.ts";
import { nameFor } from "../core/session.ts";
import type { UsageQuery, UsageRow } from "../core/usage.ts";
import { usageGet } from "../protocol/api/usage.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodDeps } from "./deps.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

type Params = Static<typeof usageGet.params>;
type Answer = Static<typeof usageGet.result>;
type Group = NonNullable<Answer["groups"]>[number];

export function usageMethods(deps: MethodDeps): MethodHandler[] {
  return [handle(usageGet, (params, call) => usage(deps, params, call))];
}

async function usage(deps: MethodDeps, params: Params, call: Call): Promise<Answer> {
  const { store, ledger } = deps;
  const { by, since, until, limit = 100 } = params;
  const whose = await whoseUsage(deps, params, call);
  const query = {
    ...whose,
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
    currency: ledger.currency,
  };
  const budgets = await budgetsOf(deps, whose);
  const [total] = await store.usage({ ...query, by: "total", limit: 1 });
  if (total === undefined) throw new Error("the store told no total");
  const about = {
    currency: ledger.currency,
    total: amountsOf(total),
    ...(budgets.length > 0 && { budgets }),
  };
  if (by === undefined) return about;
  const rows = await store.usage({ ...query, by, limit: limit + 1 });
  const groups = await Promise.all(rows.slice(0, limit).map((row) => groupOf(deps, call.user, by, row)));
  return { ...about, groups, ...(rows.length > limit && { more: true }) };
}

/** @throws GatewayError FORBIDDEN, NOT_FOUND, INVALID_REQUEST */
async function whoseUsage(
  { directory }: MethodDeps,
  { by, user, everybody = false, session_id }: Params,
  call: Call,
): Promise<Pick<UsageQuery, "user" | "session">> {
  const all = everybody || by === "user";
  if ([all, user !== undefined, session_id !== undefined].filter(Boolean).length > 1) {
    throw new GatewayError(
      "INVALID_REQUEST",
      "it is about everybody, about one user or about one session: keep one of everybody (by user is that, too), user and session_id",
      { details: { kind: "usage" } },
    );
  }
  if (session_id !== undefined) return { session: (await directory.find(call.user, session_id, "read")).id };
  const own = user === undefined || user === call.user;
  if ((all || !own) && !call.caller.principal.scopes.has("system.read")) {
    throw new GatewayError("FORBIDDEN", "what others used needs the scope system.read", {
      details: { kind: "scope", scope: "system.read" },
    });
  }
  return all ? {} : { user: user ?? call.user };
}

async function budgetsOf({ ledger }: MethodDeps, { user }: Pick<UsageQuery, "user">): Promise<BudgetState[]> {
  if (user === undefined) return [];
  const unread = await ledger.spending.load(user);
  if (unread !== null) throw unread;
  return ledger.spending.of(user);
}

async function groupOf(
  { store }: MethodDeps,
  user: string,
  by: NonNullable<Params["by"]>,
  row: UsageRow,
): Promise<Group> {
  const { key } = row;
  if (by !== "session") return { [by]: key, ...amountsOf(row) };
  const session = await store.session(key);
  return { session_id: session === null ? key : nameFor(session, user), ...amountsOf(row) };
}

function amountsOf({ key: _, priced_calls, cost, ...row }: UsageRow): Answer["total"] {
  const unpriced_calls = Math.max(0, row.calls - row.unknown_calls - priced_calls);
  return { ...row, unpriced_calls, ...(priced_calls > 0 && { cost }) };
}
