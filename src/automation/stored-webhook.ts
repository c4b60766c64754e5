import type { MadeBy } from "../core/maker.ts";
import type { WebhookView } from "../core/automation.ts";

/** Its receiver takes nothing. Milliseconds since 1970. */
export interface Failing {
  /** The first failure. */
  readonly since: number;
  /** The last one that is written. */
  readonly last: number;
}

/** As stored. */
export interface StoredWebhook extends MadeBy {
  readonly id: string;
  readonly name: string;
  readonly url: string;
  readonly types: readonly string[];
  readonly sessions: WebhookView["sessions"];
  /** Whether whoever made it might read. */
  readonly reads: boolean;
  readonly enabled: boolean;
  /** Why it was turned off by itself. */
  readonly reason: string | null;
  /** Absent: an earlier version did not say. */
  readonly failing?: Failing | null;
  /** It is owed nothing older. */
  readonly since: number;
  readonly created_at: number;
  readonly updated_at: number;
  /** Sealed. */
  readonly secret: string;
  /** The one before the last rotation, and until when deliveries are signed with it, too. */
  readonly previous: { readonly secret: string; readonly until: number } | null;
}

/** A delivery that was given up, as stored. */
export interface DeadDelivery {
  readonly webhook_id: string;
  readonly type: string;
  readonly session_id: string;
  readonly seq: number;
  readonly attempts: number;
  readonly reason: string;
  readonly failed_at: number;
}

export function viewWebhook(webhook: StoredWebhook, now: number): WebhookView {
  const { id, owner, name, url, types, sessions, enabled, reason, previous, created_at, updated_at } =
    webhook;
  return {
    webhook_id: id,
    owner,
    name,
    url,
    types: [...types],
    sessions,
    enabled,
    ...(reason !== null && { reason }),
    created_at,
    updated_at,
    ...(previous !== null && previous.until > now && { previous_until: previous.until }),
  };
}
