import { createHash } from "node:crypto";
import type { SessionRef } from "../core/session.ts";
import { nameFor } from "../core/session.ts";
import type { StoredEvent } from "../protocol/frames.ts";
import { encodeEvent } from "../protocol/frames.ts";
import type { Attempt } from "./attempts.ts";
import type { StoredWebhook } from "./stored-webhook.ts";

export const RETRY_MS = 2_000;
const RETRY_MAX_MS = 3_600_000;

/** Somewhere between nothing and twice as long as before; the receiver's own wish counts more. */
export function waitAfter({ retry_after_ms }: Attempt, tries: number): number {
  const most = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** (tries - 1));
  const random = (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32;
  return Math.max(retry_after_ms ?? 0, random * most);
}

/** The same for each attempt, in every process. */
export function idOf(webhook_id: string, { id }: SessionRef, epoch: string, seq: number): string {
  const digest = createHash("sha256").update(`${webhook_id} ${id} ${epoch} ${seq}`).digest("hex");
  return `del_${digest.slice(0, 32)}`;
}

/** What is posted: the frame of the event as everybody else reads it, in an envelope. */
export function bodyOf(
  webhook: StoredWebhook,
  session: SessionRef,
  epoch: string,
  event: StoredEvent,
): string {
  const timestamp = new Date(event.ts).toISOString();
  const frame = encodeEvent(nameFor(session, webhook.owner), epoch, event);
  return `{"type":"${event.type}","timestamp":"${timestamp}","webhook_id":"${webhook.id}","data":${frame}}`;
}
