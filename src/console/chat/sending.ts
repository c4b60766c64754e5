import { randomId } from "../../client/options.ts";
import type { ClientSession, SendOptions } from "../../client/session.ts";
import type { PendingMessage } from "../../client/state.ts";

/** A refusal is shown at the message. */
export function sendMessage(session: ClientSession, message: string, options: SendOptions): void {
  session.send(message, { idempotency_key: randomId(), ...options }).catch(() => undefined);
}

/** As it was sent, and with the same key: once is enough. */
export function sendAgain(session: ClientSession, pending: PendingMessage): void {
  sendMessage(session, pending.message, { ...pending.options, idempotency_key: pending.idempotency_key });
}
