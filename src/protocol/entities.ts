import type { Static } from "@sinclair/typebox";
import { Type } from "@sinclair/typebox";
import { ErrorBody } from "./errors.ts";
import { Epoch, Id, Metadata, Seq, SessionId, Timestamp } from "./schema.ts";

export const Role = Type.Union([
  Type.Literal("user"),
  Type.Literal("assistant"),
  Type.Literal("system"),
  Type.Literal("tool"),
]);
export type Role = Static<typeof Role>;

export const Usage = Type.Object({
  input_tokens: Type.Integer({ minimum: 0 }),
  output_tokens: Type.Integer({ minimum: 0 }),
  cached_tokens: Type.Optional(Type.Integer({ minimum: 0 })),
  reasoning_tokens: Type.Optional(Type.Integer({ minimum: 0 })),
  cost: Type.Optional(Type.Integer({ minimum: 0, description: "1e-9 of the price's currency" })),
  unknown_calls: Type.Optional(
    Type.Integer({ minimum: 0, description: "of a run: calls of which no usage is known, not in the sums" }),
  ),
});
export type Usage = Static<typeof Usage>;

/** A file, in whichever part. */
export const FILE_FIELDS = {
  attachment_id: Id,
  name: Type.String(),
  media_type: Type.String({ description: "by its content" }),
  bytes: Type.Integer({ minimum: 0 }),
};
export const IMAGE_FIELDS = {
  width: Type.Integer({ minimum: 1, description: "pixels" }),
  height: Type.Integer({ minimum: 1, description: "pixels" }),
};

export const Part = Type.Union([
  Type.Object({ type: Type.Literal("text"), text: Type.String() }),
  Type.Object({ type: Type.Literal("reasoning"), text: Type.String() }),
  Type.Object({
    type: Type.Literal("tool_call"),
    tool_call_id: Type.String(),
    name: Type.String(),
    arguments: Type.String({ description: "the model's JSON text" }),
    extra: Type.Optional(Type.String({ description: "what the model's server wants back with the call" })),
  }),
  Type.Object({
    type: Type.Literal("tool_result"),
    tool_call_id: Type.String(),
    ok: Type.Boolean(),
    truncated: Type.Optional(Type.Boolean()),
  }),
  Type.Object({ type: Type.Literal("image"), ...FILE_FIELDS, ...IMAGE_FIELDS }),
  Type.Object({ type: Type.Literal("file"), ...FILE_FIELDS }),
]);
export type Part = Static<typeof Part>;

const messageFields = {
  message_id: Id,
  role: Role,
  status: Type.Union([Type.Literal("streaming"), Type.Literal("complete"), Type.Literal("partial")]),
  content: Type.String({ description: "the text parts joined" }),
  parts: Type.Optional(Type.Array(Part)),
  run_id: Type.Optional(Id),
  model: Type.Optional(Type.String()),
  usage: Type.Optional(Usage),
  timestamp: Timestamp,
  metadata: Metadata,
};
/** A message inside an event: session_id and seq are those of the frame. */
export const EventMessage = Type.Object(messageFields);
export type EventMessage = Static<typeof EventMessage>;
export const Message = Type.Object({ session_id: SessionId, seq: Seq, ...messageFields });
export type Message = Static<typeof Message>;

export const RunStatus = Type.Union([
  Type.Literal("queued"),
  Type.Literal("running"),
  Type.Literal("completed"),
  Type.Literal("failed"),
  Type.Literal("aborted"),
  Type.Literal("interrupted"),
]);
export type RunStatus = Static<typeof RunStatus>;
export type TerminalStatus = Exclude<RunStatus, "queued" | "running">;

const runFields = {
  run_id: Id,
  status: RunStatus,
  message_id: Type.Optional(Id),
  model: Type.String(),
  usage: Type.Optional(Usage),
  error: Type.Optional(ErrorBody),
  finish_reason: Type.Optional(Type.String()),
  ended_by: Type.Optional(Type.String()),
  reason: Type.Optional(Type.String()),
  origin: Type.Object({ transport: Type.String(), client_id: Type.String() }),
  created_at: Timestamp,
  started_at: Type.Optional(Timestamp),
  ended_at: Type.Optional(Timestamp),
};
/** A run inside an event: session_id is that of the frame. */
export const EventRun = Type.Object(runFields);
export type EventRun = Static<typeof EventRun>;
export const Run = Type.Object({ session_id: SessionId, ...runFields });
export type Run = Static<typeof Run>;

export const Approval = Type.Object({
  approval_id: Id,
  run_id: Id,
  message_id: Id,
  tool_call_id: Type.String(),
  name: Type.String(),
  arguments: Type.String(),
  created_at: Timestamp,
  expires_at: Timestamp,
  decision: Type.Optional(Type.Union([Type.Literal("allow"), Type.Literal("deny"), Type.Literal("expired")])),
  by: Type.Optional(Type.String()),
});
export type Approval = Static<typeof Approval>;

const sessionFields = {
  title: Type.String(),
  owner: Type.String(),
  model: Type.Optional(Type.String()),
  system_prompt: Type.Optional(Type.String()),
  metadata: Metadata,
  created_at: Timestamp,
  archived: Type.Boolean(),
};
/** A session inside an event: the fields the fold takes from the frames are left out. */
export const EventSession = Type.Object(sessionFields);
export type EventSession = Static<typeof EventSession>;
export const Session = Type.Object({
  session_id: SessionId,
  ...sessionFields,
  updated_at: Timestamp,
  message_count: Type.Integer({ minimum: 0 }),
  active_run_id: Type.Optional(Id),
  epoch: Epoch,
  head: Seq,
});
export type Session = Static<typeof Session>;

export const Snapshot = Type.Object({
  session: Session,
  messages: Type.Array(Message),
  runs: Type.Array(Run),
  approvals: Type.Array(Approval),
  has_more: Type.Boolean(),
});
export type Snapshot = Static<typeof Snapshot>;
