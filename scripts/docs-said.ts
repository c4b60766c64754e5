import type { Limits } from "../src/core/limits.ts";
import type { ErrorCode } from "../src/protocol/errors.ts";
import type { DurableEvent, SignalEvent } from "../src/protocol/events.ts";

/** What no definition says, for the tables of the reference. A new code, event or signal lacks its line until it is said. */
export const WHEN: Readonly<Record<ErrorCode, string>> = {
  INVALID_REQUEST:
    "the request cannot be what was meant; `details.path` names the field. HTTP 422 where the params do not fit their schema, 405, 415 and 426 where HTTP has a word for it. Closes when it is not JSON before `connect`, for no common protocol version, and at the 30th bad frame in a minute",
  UNAUTHORIZED:
    "no credential, or one that is wrong, expired or revoked; a device that is not paired yet. Closes always, at the moment of a revocation too; with 4008 who waits to be paired",
  FORBIDDEN:
    "known, but not allowed: scope, role in a shared session, Origin; HTTP 421 for a Host that is not this gateway's. Closes when an operator ends the connection",
  NOT_FOUND:
    "no such method, path, session, run, message, approval, attachment, token or device; what is not yours looks exactly the same",
  TIMEOUT:
    "too long: a run, a method, a body. Closes when `connect` does not come, and when nothing was heard for `connection_timeout`",
  CONFLICT: "it does not fit what is there: busy, exists, full, an id in flight, a second connect",
  GONE: "a session its owner deleted; a cursor that the log does not reach back to",
  TOO_LARGE:
    "a frame, body, message or payload over its limit. Closes for frames, and for too much before `connect`",
  IDEMPOTENCY_MISMATCH: "the key belongs to another request",
  RATE_LIMITED:
    "too much at once, too fast, or too many wrong credentials; nothing was done, `retry_after_ms` says when to try again. Closes who does not heed it",
  SLOW_CONSUMER: "the reader does not keep up. Closes; come back and resume",
  INTERNAL_ERROR: "a bug; `details.id` is in the gateway's log. The outcome is open",
  UPSTREAM_ERROR: "the model failed",
  UNAVAILABLE:
    "stopping, full, or storage refuses; nothing was done. Closes where a user or a device has too many connections",
};

/** Errors that can end a connection. */
export const CLOSES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "INVALID_REQUEST",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "TIMEOUT",
  "TOO_LARGE",
  "RATE_LIMITED",
  "SLOW_CONSUMER",
  "INTERNAL_ERROR",
  "UNAVAILABLE",
]);

const END = "replace the run: exactly one end per run, and its last event";

export const FOLDS: Readonly<Record<DurableEvent, string>> = {
  "session.created": "keep the session",
  "session.updated": "replace the session",
  "session.closed": "nothing comes after it",
  "message.created": "add the message, complete",
  "run.queued": "add the run",
  "run.started": "mark the run running, note the model",
  "message.started": "add an empty message, streaming",
  "message.delta": "add the text to the part, at its offset",
  "tool.call": "add a part `tool_call` to the message",
  "tool.approval_requested": "add the approval",
  "tool.approval_resolved": "drop the approval",
  "tool.result": "add a message of role `tool`",
  "message.completed": "replace the message, compare length and sha256",
  "message.discarded": "drop the message",
  "run.retrying": "nothing",
  "run.completed": END,
  "run.failed": END,
  "run.aborted": END,
  "run.interrupted": END,
};

export const READERS: Readonly<Record<SignalEvent, string>> = {
  "connect.challenge":
    "every socket where devices are taken, and one that offered `agentbus.v1.challenge`, as its first frame",
  heartbeat: "every socket, each `policy.heartbeat_interval` seconds",
  notification: "whom `event.broadcast` or `event.send` was meant for",
  "skill.changed": "everyone with `chat.read`, in gateways that have skills",
  shutdown: "every connection",
  "session.synced": "the subscriber, once per subscription",
  "session.unsubscribed": "the subscriber whose subscription the gateway ended",
  "session.changed": "every socket of those who may read the session, subscribed or not",
  "presence.updated": "those who follow the same session, and holders of `clients.manage`",
};

/** Bounds a client meets: the limit, of what, and what happens past it. */
export const LIMITS: readonly (readonly [key: keyof Limits, what: string, past: string])[] = [
  ["connect_deadline_ms", "from the open socket to `connect`", "TIMEOUT, closed 4008"],
  ["connect_bytes", "everything before `connect` is answered", "TOO_LARGE, closed 1009"],
  ["frame_bytes", "a frame to the gateway", "closed 1009"],
  ["body_bytes", "a REST body", "TOO_LARGE"],
  ["in_flight", "requests of one connection that are not answered", "RATE_LIMITED `in_flight`"],
  ["waits_in_flight", "`run.wait` requests of one connection", "RATE_LIMITED `in_flight`"],
  ["json_depth", "levels of JSON in a frame or a body", "INVALID_REQUEST `depth`"],
  ["bad_frames_per_minute", "frames that are no requests", "closed 4000"],
  [
    "control_frames_per_second",
    "pings and pongs of one socket",
    "RATE_LIMITED `control_frames`, closed 4029",
  ],
  [
    "mutations_per_second",
    "requests that change something, on one socket; over REST by one credential at one address",
    "RATE_LIMITED `rate`",
  ],
  ["mutations_burst", "so many of them at once", "the same"],
  ["mutations_over_ms", "too fast without heeding `retry_after_ms`", "RATE_LIMITED `rate`, closed 4029"],
  ["message_bytes", "a user's message", "TOO_LARGE"],
  ["assistant_bytes", "a model's answer", "the run fails with TOO_LARGE; what was said stays, partial"],
  ["completed_inline_bytes", "a message inside `message.completed`", "it comes with `content_omitted`"],
  ["title_chars", "a title, in UTF-16 code units", "TOO_LARGE"],
  ["metadata_bytes", "metadata, as JSON", "TOO_LARGE"],
  ["system_prompt_bytes", "a system prompt", "TOO_LARGE"],
  ["broadcast_bytes", "the payload of `event.broadcast` and `event.send`", "TOO_LARGE"],
  ["attachment_bytes", "a file", "TOO_LARGE"],
  ["attachment_pixels", "width times height of an image", "TOO_LARGE"],
  ["upload_deadline_ms", "from the first byte of an upload to its last", "TIMEOUT"],
  ["attachments_per_message", "files of one message", "TOO_LARGE"],
  [
    "subscriptions",
    "sessions one connection follows",
    "CONFLICT `full`; an automatic one of an idle session goes first",
  ],
  ["queued_runs", "messages that wait in one session", "CONFLICT `full`"],
  ["sessions_per_user", "sessions of one user", "CONFLICT `full`"],
  ["messages_per_session", "messages of one session", "CONFLICT `full`"],
  [
    "attachments_per_user",
    "files of one user: of the messages in sessions of theirs, and uploads",
    "CONFLICT `full`",
  ],
  ["attachment_bytes_per_user", "the same, in bytes; one content counts once", "CONFLICT `full`"],
  ["upload_ttl_secs", "for a message to name an upload", "it is erased"],
  ["uploads_per_user", "files of one user that are being received", "RATE_LIMITED `uploads`"],
  ["uploads", "the same, of all users", "RATE_LIMITED `uploads`"],
  ["downloads_per_user", "files that are being sent to one user", "RATE_LIMITED `downloads`"],
  ["keys_per_user", "idempotency keys of one user", "CONFLICT `full`"],
  ["far_events", "events behind the head", "a snapshot instead of the log, unless `catch_up` is `log`"],
  ["snapshot_bytes", "a snapshot", "older messages are left out: `has_more`"],
  ["snapshot_messages", "messages of a snapshot", "the same"],
  ["history_bytes", "a page of the history", "fewer messages than `limit`: `has_more`"],
  ["slow_soft_bytes", "bytes that wait for a live reader", "SLOW_CONSUMER, closed 4030"],
  ["backpressure_bytes", "the same, at any moment", "closed 1006"],
  [
    "challenges_per_address",
    "challenges for logins of devices over REST that nobody used, of one address",
    "RATE_LIMITED `challenges`",
  ],
  ["pairing_requests_per_address", "devices of one address that wait to be paired", "RATE_LIMITED `pairing`"],
  ["pairing_requests", "the same, of all addresses", "RATE_LIMITED `pairing`"],
  ["max_connections", "connections in all: sockets and event streams", "HTTP 503 before the upgrade"],
  [
    "max_connections_per_user",
    "those of one user, but for those with the scope `admin`",
    "UNAVAILABLE `connections`, closed 1013; HTTP 503",
  ],
  ["max_connections_per_device", "those of one device, by its key and by the logins it made", "the same"],
  ["max_unauthenticated", "sockets before `connect`", "HTTP 503 before the upgrade"],
  [
    "max_unauthenticated_per_address",
    "those of one address (of a /64 in IPv6)",
    "HTTP 503 before the upgrade",
  ],
  [
    "unauthenticated_bytes_per_address",
    "bodies that are being received of one address before it is known whose they are",
    "RATE_LIMITED `bodies`",
  ],
  ["unauthenticated_bytes", "the same, of all", "RATE_LIMITED `bodies`"],
];
