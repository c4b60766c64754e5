import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Params, Timestamp } from "../schema.ts";

const Level = Type.Union([
  Type.Literal("debug"),
  Type.Literal("info"),
  Type.Literal("warn"),
  Type.Literal("error"),
]);
const Place = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

export const logTail = defineMethod({
  name: "log.tail",
  scope: "admin",
  doc: "The newest lines of the log, as they were written; ask again with `next` for those that come.",
  params: Params({
    after: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description: "`next` of the answer before; without it, the newest lines",
      }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    level: Type.Optional(Level),
    component: Type.Optional(Type.String({ pattern: "^[a-z_-]{1,32}$" })),
  }),
  result: Type.Object({
    lines: Type.Array(
      Type.Object({
        seq: Place,
        ts: Timestamp,
        level: Level,
        message: Type.String(),
        component: Type.Optional(Type.String()),
        fields: Type.Record(Type.String(), Type.Unknown()),
      }),
      { description: "oldest first" },
    ),
    next: Place,
    gap: Type.Boolean({ description: "lines in between are not there any more" }),
  }),
});
