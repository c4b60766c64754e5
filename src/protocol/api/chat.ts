import { Type } from "@sinclair/typebox";
import { Message } from "../entities.ts";
import { defineMethod } from "../methods.ts";
import { Epoch, Id, IdempotencyKey, Metadata, Params, Seq, SessionId } from "../schema.ts";

export const OnBusy = Type.Union(
  [Type.Literal("queue"), Type.Literal("steer"), Type.Literal("interrupt"), Type.Literal("reject")],
  { description: "what happens when the session already has a run" },
);

/** Uploads of the user (POST /api/v1/attachments), shown in this order. */
const Attachments = Type.Array(Id, {
  maxItems: 100,
  uniqueItems: true,
  description:
    "attachment_ids of your uploads; 8 at most, unless limits.attachments_per_message says otherwise",
});
const Said = Type.String({ description: "may be empty where something is attached" });

export const chatSend = defineMethod({
  name: "chat.send",
  scope: "chat.write",
  mutates: true,
  idempotent: true,
  doc: "Adds a message and starts (or queues) the run that answers it. Creates the session if its id is free.",
  params: Params({
    session_id: Type.Optional(SessionId),
    message: Said,
    type: Type.Optional(Type.Literal("text")),
    attachments: Type.Optional(Attachments),
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    on_busy: Type.Optional(OnBusy),
    idempotency_key: Type.Optional(IdempotencyKey),
    metadata: Type.Optional(Metadata),
    subscribe: Type.Optional(Type.Boolean({ default: true })),
  }),
  result: Type.Object({
    session_id: SessionId,
    message_id: Id,
    run_id: Id,
    status: Type.Union([Type.Literal("started"), Type.Literal("queued"), Type.Literal("steered")]),
    epoch: Epoch,
    seq: Seq,
    subscribed: Type.Boolean(),
    from: Seq,
  }),
});

export const chatHistory = defineMethod({
  name: "chat.history",
  scope: "chat.read",
  doc: "Messages, oldest first: the newest ones, those before `before`, or those after `after` (message ids).",
  params: Params({
    session_id: SessionId,
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
    before: Type.Optional(Id),
    after: Type.Optional(Id),
  }),
  result: Type.Object({
    session_id: SessionId,
    epoch: Epoch,
    head: Seq,
    messages: Type.Array(Message),
    total: Type.Integer({ minimum: 0 }),
    has_more: Type.Boolean(),
  }),
});

export const chatAbort = defineMethod({
  name: "chat.abort",
  scope: "chat.write",
  mutates: true,
  doc: "Stops one run, or every run of a session; answers after their ends are committed.",
  params: Params({
    run_id: Type.Optional(Id),
    session_id: Type.Optional(SessionId),
    queued: Type.Optional(Type.Union([Type.Literal("cancel"), Type.Literal("keep")], { default: "cancel" })),
  }),
  result: Type.Object({
    run_ids: Type.Array(Id),
    status: Type.Union([Type.Literal("aborted"), Type.Literal("idle")]),
  }),
});

export const chatInject = defineMethod({
  name: "chat.inject",
  scope: "chat.write",
  mutates: true,
  idempotent: true,
  doc: "Adds a message to the history without starting a run.",
  params: Params({
    session_id: SessionId,
    role: Type.Union([Type.Literal("user"), Type.Literal("assistant"), Type.Literal("system")]),
    content: Said,
    attachments: Type.Optional(Attachments),
    metadata: Type.Optional(Metadata),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  result: Type.Object({ session_id: SessionId, message_id: Id, epoch: Epoch, seq: Seq }),
});
