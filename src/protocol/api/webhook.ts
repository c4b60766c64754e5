import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Empty, Id, Params, Timestamp, User } from "../schema.ts";
import { Suspended } from "./hook.ts";

const Name = Type.String({ maxLength: 64 });
const Url = Type.String({ minLength: 8, maxLength: 2_048 });
const Types = Type.Array(Type.String({ pattern: "^[a-z]+(?:[._][a-z]+)*(?:\\.\\*)?$", maxLength: 64 }), {
  minItems: 1,
  maxItems: 32,
  uniqueItems: true,
  description:
    "durable events by their type, as run.completed, or app.* for all that begin so; not message.delta",
});
const Sessions = Type.Union([Type.Literal("own"), Type.Literal("all")], {
  description: "of which sessions: those you may read, or (an administrator) everybody's",
});

const fields = {
  webhook_id: Id,
  owner: User,
  name: Name,
  url: Url,
  types: Type.Array(Type.String()),
  sessions: Sessions,
  enabled: Type.Boolean(),
  suspended: Type.Optional(Suspended),
  reason: Type.Optional(Type.String({ description: "why it was turned off by itself" })),
  failing_since: Type.Optional(Timestamp),
  created_at: Timestamp,
  updated_at: Timestamp,
  previous_until: Type.Optional(Timestamp),
};
export const Webhook = Type.Object(fields);
const Issued = Type.Object({
  secret: Type.String({ description: "whsec_…, shown this once: what deliveries are signed with" }),
  ...fields,
});

export const webhookCreate = defineMethod({
  name: "webhook.create",
  scope: "sessions.manage",
  mutates: true,
  doc:
    "Has events delivered to a URL, signed as Standard Webhooks says: each at least once, in the order of its session, from now on. " +
    "Needs chat.read too.",
  audit: ({ name, url, types, sessions }) => ({
    details: { name, host: URL.parse(url)?.host, types, sessions },
  }),
  params: Params({
    url: Url,
    types: Types,
    name: Type.Optional(Name),
    sessions: Type.Optional(Sessions),
  }),
  result: Issued,
});

export const webhookList = defineMethod({
  name: "webhook.list",
  scope: "chat.read",
  doc: "The caller's webhooks, without their secrets; for an administrator everybody's.",
  params: Empty,
  result: Type.Object({ webhooks: Type.Array(Webhook) }),
});

export const webhookUpdate = defineMethod({
  name: "webhook.update",
  scope: "sessions.manage",
  mutates: true,
  doc: "Changes a webhook, or turns it off and on. What happens while it is off is not delivered.",
  audit: ({ webhook_id, types, enabled }) => ({ target: webhook_id, details: { types, enabled } }),
  params: Params({
    webhook_id: Id,
    url: Type.Optional(Url),
    types: Type.Optional(Types),
    name: Type.Optional(Name),
    enabled: Type.Optional(Type.Boolean()),
  }),
  result: Webhook,
});

export const webhookRotate = defineMethod({
  name: "webhook.rotate",
  scope: "sessions.manage",
  mutates: true,
  doc: "A new secret for a webhook; deliveries are signed with the old one too, for keep_secs (a day).",
  audit: ({ webhook_id, keep_secs }) => ({ target: webhook_id, details: { keep_secs } }),
  params: Params({
    webhook_id: Id,
    keep_secs: Type.Optional(Type.Integer({ minimum: 0, maximum: 604_800, default: 86_400 })),
  }),
  result: Issued,
});

export const webhookDelete = defineMethod({
  name: "webhook.delete",
  scope: "sessions.manage",
  mutates: true,
  doc: "Ends a webhook, with what it was still owed.",
  audit: ({ webhook_id }) => ({ target: webhook_id }),
  params: Params({ webhook_id: Id }),
  result: Type.Object({ deleted: Type.Boolean() }),
});

export const webhookTest = defineMethod({
  name: "webhook.test",
  scope: "sessions.manage",
  mutates: true,
  doc: "Delivers one webhook.test now, and answers what the receiver did.",
  params: Params({ webhook_id: Id }),
  result: Type.Object({
    ok: Type.Boolean(),
    status: Type.Optional(Type.Integer()),
    reason: Type.Optional(Type.String()),
    ms: Type.Integer({ minimum: 0 }),
  }),
});

const Dead = Type.Object({
  delivery_id: Id,
  type: Type.String(),
  session_id: Type.String(),
  seq: Type.Integer({ minimum: 0 }),
  attempts: Type.Integer({ minimum: 1 }),
  reason: Type.String(),
  failed_at: Timestamp,
});

export const webhookDeliveries = defineMethod({
  name: "webhook.deliveries",
  scope: "chat.read",
  doc: "Deliveries that were given up, oldest first, and for how many sessions something waits.",
  params: Params({ webhook_id: Id }),
  result: Type.Object({ dead: Type.Array(Dead), waiting_sessions: Type.Integer({ minimum: 0 }) }),
});

export const webhookRedeliver = defineMethod({
  name: "webhook.redeliver",
  scope: "sessions.manage",
  mutates: true,
  doc: "Tries deliveries that were given up once more: those named, or the oldest twenty.",
  audit: ({ webhook_id }) => ({ target: webhook_id }),
  params: Params({
    webhook_id: Id,
    delivery_ids: Type.Optional(Type.Array(Id, { minItems: 1, maxItems: 20, uniqueItems: true })),
  }),
  result: Type.Object({
    delivered: Type.Array(Id),
    failed: Type.Array(Type.Object({ delivery_id: Id, reason: Type.String() })),
  }),
});
