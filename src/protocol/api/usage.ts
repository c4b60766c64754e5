import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Params, SessionId, Timestamp, User } from "../schema.ts";

const amount = (description?: string) =>
  Type.Integer({ minimum: 0, ...(description !== undefined && { description }) });

const amounts = {
  calls: amount("of models"),
  unknown_calls: amount("of these, whose provider told no usage: they are in no other amount"),
  unpriced_calls: amount("of these, whose usage is known and whose model has no price: they are not in cost"),
  input_tokens: amount(),
  output_tokens: amount(),
  cached_tokens: amount("of the input, as far as it was told"),
  reasoning_tokens: amount("of the output, as far as it was told"),
  cost: Type.Optional(amount("in 1e-9 of the currency; absent where no call had a price")),
};

const Day = Type.String({ pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description: "as in 2026-01-31, UTC" });

export const usageGet = defineMethod({
  name: "usage.get",
  scope: "chat.read",
  doc: "What models were used for: your own, that of a session you may read, or, with system.read, anybody's.",
  params: Params({
    by: Type.Optional(
      Type.Union(
        [Type.Literal("day"), Type.Literal("model"), Type.Literal("user"), Type.Literal("session")],
        {
          description: "also tell it in groups; by user needs system.read and tells everybody's",
        },
      ),
    ),
    user: Type.Optional(User),
    everybody: Type.Optional(Type.Boolean()),
    session_id: Type.Optional(SessionId),
    since: Type.Optional(Day),
    until: Type.Optional(Day),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
  }),
  result: Type.Object({
    currency: Type.String(),
    total: Type.Object(amounts),
    groups: Type.Optional(
      Type.Array(
        Type.Object({
          day: Type.Optional(Day),
          model: Type.Optional(Type.String({ description: "provider/model, or other" })),
          user: Type.Optional(Type.String()),
          session_id: Type.Optional(SessionId),
          ...amounts,
        }),
        { description: "days newest first, others with the most tokens first" },
      ),
    ),
    more: Type.Optional(Type.Boolean({ description: "there are more groups than limit" })),
    budgets: Type.Optional(
      Type.Array(
        Type.Object({
          what: Type.String({ description: "day_tokens, month_tokens, day_cost or month_cost" }),
          limit: amount(),
          spent: amount(),
          resets_at: Timestamp,
        }),
        { description: "of the one user it is about" },
      ),
    ),
  }),
});
