import { Type } from "@sinclair/typebox";
import { APP_EVENT } from "../events.ts";
import { defineMethod } from "../methods.ts";
import { IdempotencyKey, Metadata, Params, Seq, SessionId, User } from "../schema.ts";

const name = Type.String({ pattern: APP_EVENT, description: "`notification`, or begins with `app.`" });

export const eventBroadcast = defineMethod({
  name: "event.broadcast",
  scope: "events.broadcast",
  mutates: true,
  idempotent: true,
  doc: "Sends a signal to every connection that passes the filter; without one, to all.",
  params: Params({
    event: name,
    payload: Metadata,
    filter: Type.Optional(
      Params({
        capability: Type.Optional(Type.String({ maxLength: 64 })),
        user: Type.Optional(User),
        client_id: Type.Optional(Type.String({ maxLength: 128 })),
        scope: Type.Optional(Type.String({ maxLength: 64 })),
        session_id: Type.Optional(SessionId),
        platform: Type.Optional(Type.String({ maxLength: 64 })),
      }),
    ),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  result: Type.Object({ delivered: Type.Integer({ minimum: 0 }) }),
});

export const eventSend = defineMethod({
  name: "event.send",
  scope: "events.broadcast",
  mutates: true,
  idempotent: true,
  doc: "Sends an event to everyone who follows a session; durable ones are ordered and can be replayed.",
  params: Params({
    session_id: SessionId,
    event: name,
    payload: Metadata,
    durable: Type.Optional(Type.Boolean({ default: false })),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  result: Type.Object({ delivered: Type.Optional(Type.Integer({ minimum: 0 })), seq: Type.Optional(Seq) }),
});
