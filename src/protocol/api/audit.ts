import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Params, Timestamp, User } from "../schema.ts";

const entry = Type.Object({
  audit_id: Type.String(),
  ts: Timestamp,
  action: Type.String({
    description: "a method, or login, token.expire, auth_session.expire, config.change …",
  }),
  outcome: Type.String({ description: "ok, or the code of the error" }),
  user: Type.String({ description: "empty: nobody that is known" }),
  method: Type.String({ description: "how they came in; of a refused login, what was presented" }),
  credential: Type.Optional(Type.String({ description: "its id" })),
  transport: Type.String(),
  remote: Type.String({ description: "the address; *: many" }),
  client_id: Type.String(),
  target: Type.Optional(Type.String({ description: "id of what it concerned" })),
  details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  count: Type.Integer({ description: "how often, where the same came again and again" }),
});

export const auditList = defineMethod({
  name: "audit.list",
  scope: "admin",
  doc: "The audit trail, newest first: who did what, from where, and what came of it.",
  params: Params({
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })),
    cursor: Type.Optional(Type.String({ pattern: "^[0-9]{1,15}$" })),
    user: Type.Optional(User),
    action: Type.Optional(
      Type.String({
        pattern: "^[a-z_]{1,32}([.][a-z_]{1,32})?$",
        description: "or its first part, as in token",
      }),
    ),
    outcome: Type.Optional(
      Type.String({ pattern: "^[A-Za-z_]{1,32}$", description: "ok, refused, or the code of an error" }),
    ),
    since: Type.Optional(Timestamp),
  }),
  result: Type.Object({ entries: Type.Array(entry), next: Type.Optional(Type.String()) }),
});
