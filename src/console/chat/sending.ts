import { randomId } from "../../client/options.ts";
import type { ClientSession, SendOptions } from "../../client/session.ts";

/** How messages were sent that are not in the log yet, by their key: to send one again it is sent as it was. */
const sent = new Map<string, SendOptions>();
const KEPT = 100;

/** A refusal is shown at the message. */
export function sendMessage(session: ClientSession, message: string, options: SendOptions): void {
  const idempotency_key = randomId();
  sent.set(idempotency_key, options);
  const [oldest] = sent.keys();
  if (sent.size > KEPT && oldest !== undefined) sent.delete(oldest);
  send(session, message, idempotency_key);
}

export function sendAgain(session: ClientSession, message: string, idempotency_key: string): void {
  send(session, message, idempotency_key);
}

function send(session: ClientSession, message: string, idempotency_key: string): void {
  session.send(message, { ...sent.get(idempotency_key), idempotency_key }).then(
    () => sent.delete(idempotency_key),
    () => undefined,
  );
}
