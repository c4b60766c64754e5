import { Type } from "@sinclair/typebox";
import { Session, Snapshot } from "../entities.ts";
import { defineMethod } from "../methods.ts";
import {
  Empty,
  Epoch,
  Id,
  IdempotencyKey,
  Metadata,
  Params,
  Seq,
  SessionId,
  Timestamp,
  User,
} from "../schema.ts";

const title = Type.String({
  description: "200 characters at most, unless limits.title_chars says otherwise",
});
const model = Type.String({ minLength: 1, maxLength: 256 });
const one = { session_id: SessionId };

export const sessionCreate = defineMethod({
  name: "session.create",
  scope: "chat.write",
  mutates: true,
  idempotent: true,
  aliases: ["sessions.create", "chat.sessions.create"],
  doc: "Makes a session; `session_id` is your own name for it, else the gateway makes one.",
  params: Params({
    session_id: Type.Optional(SessionId),
    title: Type.Optional(title),
    model: Type.Optional(model),
    system_prompt: Type.Optional(Type.String()),
    metadata: Type.Optional(Metadata),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  result: Session,
});

export const sessionGet = defineMethod({
  name: "session.get",
  scope: "chat.read",
  aliases: ["sessions.get"],
  doc: "One session.",
  params: Params(one),
  result: Session,
});

export const sessionUpdate = defineMethod({
  name: "session.update",
  scope: "chat.write",
  mutates: true,
  aliases: ["sessions.update"],
  doc: "Changes what is given and leaves the rest. An empty model or system_prompt takes it away.",
  params: Params({
    ...one,
    title: Type.Optional(title),
    model: Type.Optional(Type.String({ maxLength: 256 })),
    system_prompt: Type.Optional(Type.String()),
    metadata: Type.Optional(Metadata),
    archived: Type.Optional(Type.Boolean()),
  }),
  result: Session,
});

export const sessionFork = defineMethod({
  name: "session.fork",
  scope: "chat.write",
  mutates: true,
  idempotent: true,
  aliases: ["sessions.fork"],
  doc: "A new session of yours with this one's messages, up to and with `message_id`.",
  params: Params({
    ...one,
    message_id: Type.Optional(Id),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  result: Session,
});

export const sessionCompact = defineMethod({
  name: "session.compact",
  scope: "chat.write",
  mutates: true,
  aliases: ["sessions.compact"],
  doc:
    "Starts (or queues) a run in which the model summarises the conversation so far. Once its message, of role system, " +
    "is complete, later runs are asked with it instead of what it covers; the history stays as it is.",
  params: Params(one),
  result: Type.Object({
    session_id: SessionId,
    run_id: Id,
    status: Type.Union([Type.Literal("started"), Type.Literal("queued")]),
    epoch: Epoch,
    seq: Seq,
  }),
});

export const sessionTitle = defineMethod({
  name: "session.title",
  scope: "chat.write",
  mutates: true,
  aliases: ["sessions.title"],
  doc: "The model names the session by what was said in it. Answers once it has; the title it had before is replaced.",
  params: Params(one),
  result: Session,
});

export const sessionDelete = defineMethod({
  name: "session.delete",
  scope: "sessions.manage",
  mutates: true,
  aliases: ["sessions.delete", "chat.sessions.delete"],
  doc: "Ends its runs and erases it for good.",
  audit: ({ session_id }) => ({ target: session_id }),
  params: Params(one),
  result: Empty,
});

export const sessionShare = defineMethod({
  name: "session.share",
  scope: "sessions.manage",
  mutates: true,
  aliases: ["sessions.share"],
  doc: "Lets another user read it (viewer) or also send, abort and approve (editor).",
  audit: ({ session_id, user, role }) => ({ target: session_id, details: { user, role } }),
  params: Params({
    ...one,
    user: User,
    role: Type.Union([Type.Literal("viewer"), Type.Literal("editor")]),
  }),
  result: Empty,
});

export const sessionUnshare = defineMethod({
  name: "session.unshare",
  scope: "sessions.manage",
  mutates: true,
  aliases: ["sessions.unshare"],
  doc: "Takes a share back; that user's subscriptions end at once.",
  audit: ({ session_id, user }) => ({ target: session_id, details: { user } }),
  params: Params({ ...one, user: User }),
  result: Empty,
});

export const sessionList = defineMethod({
  name: "session.list",
  scope: "chat.read",
  aliases: ["sessions.list", "chat.sessions.list"],
  doc: "Your sessions and those shared with you, newest first, without their system prompts.",
  params: Params({
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })),
    cursor: Type.Optional(Type.String({ maxLength: 256 })),
    query: Type.Optional(Type.String({ maxLength: 200, description: "part of the title or of the id" })),
    archived: Type.Optional(Type.Boolean()),
    updated_after: Type.Optional(Timestamp),
  }),
  result: Type.Object({ sessions: Type.Array(Session), next: Type.Optional(Type.String()) }),
});

export const sessionSubscribe = defineMethod({
  name: "session.subscribe",
  scope: "chat.read",
  aliases: ["sessions.subscribe"],
  doc: "Follows a session from a cursor, or from a snapshot when there is none. Sockets only; see the SSE route otherwise.",
  params: Params({
    ...one,
    epoch: Type.Optional(Epoch),
    after: Type.Optional(Seq),
    catch_up: Type.Optional(Type.Union([Type.Literal("auto"), Type.Literal("log")], { default: "auto" })),
  }),
  result: Type.Object({
    mode: Type.Union([Type.Literal("resume"), Type.Literal("snapshot"), Type.Literal("reset")]),
    reason: Type.Optional(Type.String()),
    epoch: Epoch,
    from: Seq,
    head: Seq,
    snapshot: Type.Optional(Snapshot),
  }),
});

export const sessionUnsubscribe = defineMethod({
  name: "session.unsubscribe",
  scope: "chat.read",
  aliases: ["sessions.unsubscribe"],
  doc: "Stops following a session.",
  params: Params(one),
  result: Type.Object({ unsubscribed: Type.Boolean() }),
});

export const presenceList = defineMethod({
  name: "presence.list",
  scope: "chat.read",
  doc: "Who follows a session now, at whichever node; `incomplete`: one that lives did not answer within a second.",
  params: Params(one),
  result: Type.Object({
    watchers: Type.Array(
      Type.Object({
        connection_id: Id,
        client_id: Type.String(),
        client_name: Type.String(),
        user: Type.String(),
        node: Type.Optional(Type.String({ description: "The node it is at, where there may be several." })),
      }),
    ),
    incomplete: Type.Optional(Type.Boolean()),
  }),
});
