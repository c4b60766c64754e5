/**
 * `agentbus/client`: the client of a gateway, without dependencies, for browsers, Bun, Deno and Node.
 * @module
 */
export { createClient } from "../client/client.ts";
export type { Client } from "../client/client.ts";
export type { ClientState, ConnectOptions } from "../client/connection.ts";
export { deviceOf } from "../client/device.ts";
export type { DeviceCredential, Pairing } from "../client/device.ts";
export { AbortedError, ClientError, ConnectionError, GatewayError, TimeoutError } from "../client/error.ts";
export type { ClientErrorCode } from "../client/error.ts";
export type { EventOf, LogEvent, OpeningEvent, PayloadOf, SessionEvent } from "../client/events.ts";
export type { Change, FoldedMessage, FoldedRun } from "../client/change.ts";
export { createTranscript } from "../client/fold.ts";
export type { Transcript } from "../client/fold.ts";
export type { FileContent, UploadOptions } from "../client/files.ts";
export type { Hello, MethodName, Methods, Opening, ParamsFor, ResultFor } from "../client/methods.ts";
export type { ClientOptions, SocketLike } from "../client/options.ts";
export type { KeptMessage, OutboxStorage } from "../client/kept.ts";
export type { EventsOptions } from "../client/reader.ts";
export type { RequestOptions } from "../client/request.ts";
export type { ClientSession, SendOptions, Sent } from "../client/session.ts";
export type { PendingMessage, SendChoices, SessionSnapshot, SessionState } from "../client/state.ts";
export type { Cursor, SubscribeOptions, Subscription, SubscriptionHandlers } from "../client/subscription.ts";
export type {
  Approval,
  EventMessage,
  EventRun,
  Message,
  Part,
  Run,
  Session,
  Snapshot,
} from "../protocol/entities.ts";
export type { Attachment } from "../protocol/api/attachment.ts";
export type { EventFrame } from "../protocol/frames.ts";
