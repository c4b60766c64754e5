/**
 * `agentbus/client`: the client of a gateway, without dependencies, for browsers, Bun, Deno and Node.
 * @module
 */
export { createClient } from "../client/client.ts";
export type { Client, ClientOptions, ClientState } from "../client/client.ts";
export { deviceOf } from "../client/device.ts";
export type { DeviceCredential, Pairing } from "../client/device.ts";
export { ClientError } from "../client/error.ts";
export type { ClientErrorCode } from "../client/error.ts";
export { createTranscript } from "../client/fold.ts";
export type { Change, FoldedMessage, FoldedRun, Transcript } from "../client/fold.ts";
export type { Hello, MethodName, Methods, Opening, ParamsFor, ResultFor } from "../client/methods.ts";
export type { RequestOptions } from "../client/request.ts";
export type { Cursor, SubscribeOptions, Subscription, SubscriptionHandlers } from "../client/subscription.ts";
export type { EventMessage, EventRun, Message, Run, Session, Snapshot } from "../protocol/entities.ts";
export type { EventFrame } from "../protocol/frames.ts";
