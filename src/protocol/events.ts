import type { Static, TObject, TSchema } from "@sinclair/typebox";
import { Type } from "@sinclair/typebox";
import { Approval, EventMessage, EventRun, EventSession, Role } from "./entities.ts";
import type { Scope } from "./schema.ts";
import { Epoch, Id, Metadata, Seq, SessionId, Timestamp } from "./schema.ts";

export interface EventDefinition<T extends TSchema = TSchema> {
  readonly type: string;
  readonly payload: T;
  /** What a connection needs to read it; null: any principal it is addressed to. */
  readonly scope: Scope | null;
  /** Durable events have a seq and belong to a session's log; the others are signals and may be dropped. */
  readonly durable: boolean;
  readonly doc: string;
}

export function defineEvent<T extends TObject>(definition: EventDefinition<T>): EventDefinition<T> {
  return Object.freeze(definition);
}

function durable<T extends TObject>(type: string, payload: T, doc: string): EventDefinition<T> {
  return defineEvent({ type, payload, scope: "chat.read", durable: true, doc });
}
function signal<T extends TObject>(
  type: string,
  payload: T,
  scope: Scope | null,
  doc: string,
): EventDefinition<T> {
  return defineEvent({ type, payload, scope, durable: false, doc });
}

const ended = Type.Object({ run: EventRun });
const role = Role;

/** The events of a session's log, in the order a run meets them. */
export const DURABLE = {
  "session.created": durable(
    "session.created",
    Type.Object({ session: EventSession }),
    "The session exists.",
  ),
  "session.updated": durable(
    "session.updated",
    Type.Object({ session: EventSession }),
    "Replace the session.",
  ),
  "session.closed": durable("session.closed", Type.Object({ reason: Type.String() }), "End of the log."),
  "message.created": durable(
    "message.created",
    Type.Object({ message: EventMessage }),
    "A whole message was added to the history.",
  ),
  "run.queued": durable("run.queued", Type.Object({ run: EventRun }), "A run was accepted."),
  "run.started": durable(
    "run.started",
    Type.Object({ run_id: Id, model: Type.String() }),
    "The run is running; `model` is the one it asks.",
  ),
  "message.started": durable(
    "message.started",
    Type.Object({ message_id: Id, role, model: Type.String() }),
    "An empty message that is now being written, by `model`.",
  ),
  "message.delta": durable(
    "message.delta",
    Type.Object({
      message_id: Id,
      part: Type.Integer({ minimum: 0 }),
      kind: Type.Union([Type.Literal("text"), Type.Literal("reasoning")]),
      off: Type.Integer({ minimum: 0, description: "UTF-16 code units within the part" }),
      text: Type.String(),
    }),
    "Text to append to one part of the message.",
  ),
  "tool.call": durable(
    "tool.call",
    Type.Object({
      message_id: Id,
      tool_call_id: Type.String(),
      name: Type.String(),
      arguments: Type.String(),
      extra: Type.Optional(Type.String({ description: "what the model's server wants back with the call" })),
    }),
    "The model calls a tool.",
  ),
  "tool.approval_requested": durable(
    "tool.approval_requested",
    Type.Object({ approval: Approval }),
    "A tool call waits for an answer.",
  ),
  "tool.approval_resolved": durable(
    "tool.approval_resolved",
    Type.Object({ approval_id: Id, decision: Type.String(), by: Type.Optional(Type.String()) }),
    "The answer to an approval.",
  ),
  "tool.result": durable(
    "tool.result",
    Type.Object({
      message_id: Id,
      tool_call_id: Type.String(),
      ok: Type.Boolean(),
      content: Type.String(),
      truncated: Type.Optional(Type.Boolean()),
    }),
    "What a tool answered: a message of role tool.",
  ),
  "message.completed": durable(
    "message.completed",
    Type.Object({
      message: EventMessage,
      length: Type.Integer({ minimum: 0, description: "UTF-16 code units of content" }),
      sha256: Type.String({ description: "lowercase hex, over the UTF-8 of content" }),
      content_omitted: Type.Optional(Type.Boolean()),
    }),
    "The whole message; nothing changes it afterwards.",
  ),
  "message.discarded": durable(
    "message.discarded",
    Type.Object({
      message_id: Id,
      reason: Type.String(),
      length: Type.Optional(Type.Integer({ minimum: 0, description: "UTF-16 code units of content" })),
    }),
    "Drop the message; a retry writes another.",
  ),
  "run.retrying": durable(
    "run.retrying",
    Type.Object({ run_id: Id, attempt: Type.Integer({ minimum: 1 }), reason: Type.String() }),
    "A model is asked again. A message that broke off stays until the next answer begins, which discards it.",
  ),
  "run.completed": durable("run.completed", ended, "The run ended well."),
  "run.failed": durable("run.failed", ended, "The run ended with run.error."),
  "run.aborted": durable("run.aborted", ended, "Somebody stopped the run."),
  "run.interrupted": durable("run.interrupted", ended, "The gateway stopped under the run."),
} as const;
export type DurableEvent = keyof typeof DURABLE;
export type DurablePayload<T extends DurableEvent> = Static<(typeof DURABLE)[T]["payload"]>;

/** Events without a seq. */
export const SIGNALS = {
  "connect.challenge": signal(
    "connect.challenge",
    Type.Object({ nonce: Type.String(), server_id: Type.String(), ts: Timestamp }),
    null,
    "What a device signs.",
  ),
  heartbeat: signal(
    "heartbeat",
    Type.Object({ ts: Timestamp, heads: Type.Record(Type.String(), Type.Tuple([Epoch, Seq])) }),
    null,
    "Heads of the sessions this connection follows.",
  ),
  notification: signal(
    "notification",
    Metadata as unknown as TObject,
    null,
    "Sent with event.broadcast or event.send.",
  ),
  "skill.changed": signal(
    "skill.changed",
    Type.Object({ names: Type.Array(Type.String()) }),
    "chat.read",
    "The skill catalogue changed.",
  ),
  shutdown: signal(
    "shutdown",
    Type.Object({ grace_ms: Type.Integer(), retry_after_ms: Type.Integer() }),
    null,
    "The gateway is stopping; come back after retry_after_ms.",
  ),
  "session.synced": signal(
    "session.synced",
    Type.Object({ epoch: Epoch, at: Seq }),
    "chat.read",
    "Caught up; what follows is live.",
  ),
  "session.unsubscribed": signal(
    "session.unsubscribed",
    Type.Object({ session_id: SessionId, reason: Type.String() }),
    null,
    "The subscription ended: trimmed, far, epoch, limit, revoked or deleted.",
  ),
  "session.changed": signal(
    "session.changed",
    Type.Object({
      session_id: SessionId,
      epoch: Epoch,
      head: Seq,
      title: Type.String(),
      updated_at: Timestamp,
      active_run_id: Type.Optional(Id),
      approvals: Type.Integer({ minimum: 0 }),
      deleted: Type.Optional(Type.Boolean()),
    }),
    "chat.read",
    "Something happened in a session you may read; at most once a second and session.",
  ),
  "presence.updated": signal(
    "presence.updated",
    Type.Object({
      connection_id: Id,
      client_id: Type.String(),
      client_name: Type.String(),
      user: Type.String(),
      state: Type.Union([Type.Literal("joined"), Type.Literal("left")]),
      session_id: Type.Optional(SessionId),
    }),
    "chat.read",
    "Somebody came or went.",
  ),
} as const;
export type SignalEvent = keyof typeof SIGNALS;
export type SignalPayload<T extends SignalEvent> = Static<(typeof SIGNALS)[T]["payload"]>;

/** Names a client may send with event.broadcast and event.send. */
export const APP_EVENT = "^(notification|app\\.[A-Za-z0-9._-]{1,100})$";

/** The topic of a session's frames: one for the owner's own name of it, one for `ses_…`. */
export function sessionTopic(session: string, naming: Naming): string {
  return naming === "owner" ? `o:${session}` : `s:${session}`;
}
/** The topic of what concerns a user, whatever session it is in. */
export function userTopic(user: string): string {
  return `u:${user}`;
}
/** How a reader names the session: by its owner's name or by the gateway's id. */
export type Naming = "owner" | "gateway";
