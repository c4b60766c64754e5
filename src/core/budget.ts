import type { Usage } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import { newId } from "./id.ts";
import type { Clock, ToolCall } from "./ports.ts";
import type { Spending } from "./spending.ts";

/** What one run may use; 0: no bound. */
export interface BudgetBounds {
  readonly clock: Clock;
  readonly max_turns: number;
  readonly max_tool_calls: number;
  readonly max_tokens: number;
  readonly spending: Pick<Spending, "load" | "over">;
  /** Who uses what the run does. */
  readonly user: string;
}

/** The same call as often as this, one after the other, is made; the next ones are not. */
const SAME_CALLS = 3;
/** And as many more of it end the run. */
const SAME_CALLS_LEFT = 3;

/** What one run used of what it may use. */
export interface Budget {
  /** Before the model is asked; an error: it may not be. */
  turn(): Promise<GatewayError | null>;
  /** After it answered. `usage` is that of the whole run, `calls` how many tools it calls now. */
  spent(usage: Usage | undefined, calls: number): GatewayError | null;
  /** The calls under names that are unique in the run. */
  named(calls: readonly ToolCall[]): ToolCall[];
  /** Why this call is not made, for the model; null: it may be. */
  readonly refusal: (call: ToolCall) => string | null;
}

export function createBudget(bounds: BudgetBounds): Budget {
  const { clock, max_turns, max_tool_calls, max_tokens, spending, user } = bounds;
  const names = new Set<string>();
  let turns = 0;
  let calls = 0;
  let last = "";
  let same = 0;

  return {
    async turn() {
      if (++turns > max_turns) return over("max_turns", max_turns, "calls of the model");
      return (await spending.load(user)) ?? spending.over(user);
    },
    spent(usage, made) {
      calls += made;
      if (calls > max_tool_calls) return over("max_tool_calls", max_tool_calls, "calls of tools");
      const tokens = (usage?.input_tokens ?? 0) + (usage?.output_tokens ?? 0);
      // With nothing left to do the answer stands, however much it took.
      if (made > 0 && max_tokens > 0 && tokens >= max_tokens) return over("max_tokens", max_tokens, "tokens");
      const spent = made > 0 ? spending.over(user) : null;
      if (spent !== null) return spent;
      if (same >= SAME_CALLS + SAME_CALLS_LEFT) return over("same_calls", same, "times the same call");
      return null;
    },
    named: (all) =>
      all.map((call) => {
        const id = call.tool_call_id;
        const unique = id === "" || names.has(id) ? newId("call", clock.now()) : id;
        names.add(unique);
        return { ...call, tool_call_id: unique };
      }),
    refusal(call) {
      const key = `${call.name}\n${call.arguments}`;
      same = key === last ? same + 1 : 1;
      last = key;
      return same > SAME_CALLS
        ? `this call was made ${SAME_CALLS} times with the same arguments: use what it answered, or do something else`
        : null;
    },
  };
}

function over(what: string, limit: number, unit: string): GatewayError {
  const option = what === "same_calls" ? "" : ` (agent.${what})`;
  return new GatewayError("CONFLICT", `the run ended after ${limit} ${unit}${option}`, {
    details: { kind: "full" },
    limit: { what, limit },
  });
}
