/**
 * `agentbus`: a gateway inside a program of Bun's.
 * @module
 */
export { createGateway } from "../embed/create.ts";
export type { EmbedOptions, Gateway, GatewayStatus, Started, SubscribeOptions } from "../embed/gateway.ts";
export type { GatewayConfig } from "../embed/config.ts";
export type {
  Auth,
  AuthChallenge,
  AuthFrom,
  AuthResult,
  DeviceGrant,
  DeviceSigned,
  IssuedSession,
  Role,
  TailnetAddress,
  VouchedUser,
} from "../embed/auth.ts";
export type {
  AsUser,
  Chat,
  ChatStats,
  History,
  NewMessage,
  NewRun,
  NewSession,
  StartedRun,
} from "../embed/chat.ts";
export type {
  BroadcastFilter,
  ConnectionInfo,
  OpenConnections,
  SendOptions,
  SentEvent,
} from "../embed/connections.ts";
export type { LogEvent, OpeningEvent, SessionEvent } from "../client/events.ts";
export type { Happening } from "../core/observers.ts";
export type { Logger } from "../core/ports.ts";
export type { Plugin } from "../plugin/api.ts";
export type { EventMessage, EventRun, Message, Run, Session, Snapshot } from "../protocol/entities.ts";
export { ConfigError } from "../config/error.ts";
export { GatewayError } from "../protocol/errors.ts";
export type { ErrorCode } from "../protocol/errors.ts";
export type { Scope } from "../protocol/schema.ts";
