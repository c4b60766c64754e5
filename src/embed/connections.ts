import type { eventBroadcast, eventSend } from "../protocol/api/event.ts";
import type { clientList } from "../protocol/api/system.ts";
import type { ParamsOf, ResultOf } from "../protocol/methods.ts";
import type { Scope } from "../protocol/schema.ts";
import type { AsUser } from "./chat.ts";

/** An open connection, as `client.list` tells it and with what it may do and follows. */
export interface ConnectionInfo extends Readonly<ResultOf<typeof clientList>["clients"][number]> {
  /** Empty before the handshake. */
  readonly scopes: readonly Scope[];
  /** The gateway's ids (`ses_…`) of the sessions it follows. */
  readonly sessions: readonly string[];
}

export interface OpenConnections {
  /** Those of this process. */
  list(): ConnectionInfo[];
  /**
   * Closes it, at whichever node, with 4003, after which a client does not come back by itself; false: there is none.
   * @param reason told to the client
   */
  disconnect(connectionId: string, reason?: string): Promise<boolean>;
}

/** To whom: what every condition of holds for, or what the function says yes to. */
export type BroadcastFilter =
  | NonNullable<ParamsOf<typeof eventBroadcast>["filter"]>
  | ((connection: ConnectionInfo) => boolean);

export interface SendOptions extends AsUser {
  /** Written into the session's log, in order, and replayed. Default false: a signal to who follows it now. */
  readonly durable?: boolean;
}

/** Exactly one of them: how many were sent a signal, or where the event stands in the log. */
export type SentEvent = Readonly<ResultOf<typeof eventSend>>;
