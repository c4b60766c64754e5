import type { Clock } from "../core/ports.ts";
import { Slots, SlotsEach } from "../core/slots.ts";
import type { Tracing } from "../core/tracing.ts";
import { signStandard } from "./signature.ts";
import type { StoredWebhook } from "./stored-webhook.ts";

/** What became of a request; status null: it was not sent, or not answered. */
export type Posted =
  | { readonly status: number; readonly retry_after: string | null }
  | { readonly status: null; readonly reason: string };

export type Post = (
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
) => Promise<Posted>;

export interface Attempt {
  readonly ok: boolean;
  readonly status?: number;
  readonly reason?: string;
  /** The receiver says when it wants to be asked again, milliseconds. */
  readonly retry_after_ms: number | null;
  readonly ms: number;
}

/** What is posted. */
export interface Delivery {
  readonly id: string;
  readonly body: string;
  /** Of the event that it tells of, and the run that wrote it. */
  readonly type: string;
  readonly run_id?: string | null;
}

export interface AttemptsOptions {
  readonly clock: Clock;
  readonly post: Post;
  readonly secretsOf: (webhook: StoredWebhook) => string[];
  readonly tracing: Pick<Tracing, "delivery">;
}

/** Longest a receiver may take. */
const TIMEOUT_MS = 15_000;
const AT_ONCE = 32;
const PER_RECEIVER = 4;
/** So that the slow receivers of one do not keep back what others are owed. */
const PER_OWNER = 8;
const RETRY_AFTER_MAX_MS = 3_600_000;

/** Posts deliveries: so many at once, each within its time, signed. */
export class Attempts {
  readonly #clock: Clock;
  readonly #post: Post;
  readonly #secretsOf: (webhook: StoredWebhook) => string[];
  readonly #all = new Slots(AT_ONCE);
  readonly #each = new SlotsEach(PER_RECEIVER);
  readonly #owners = new SlotsEach(PER_OWNER);
  readonly #tracing: Pick<Tracing, "delivery">;

  constructor({ clock, post, secretsOf, tracing }: AttemptsOptions) {
    this.#clock = clock;
    this.#post = post;
    this.#secretsOf = secretsOf;
    this.#tracing = tracing;
  }

  /** Receivers and owners of whom something is on its way. */
  get busy(): number {
    return this.#each.size + this.#owners.size;
  }

  /** Never rejects. */
  try(webhook: StoredWebhook, delivery: Delivery, signal: AbortSignal): Promise<Attempt> {
    const one = () => this.#one(webhook, delivery, signal);
    return this.#each.use(webhook.id, () => this.#owners.use(webhook.owner, () => this.#all.use(one)));
  }

  async #one(webhook: StoredWebhook, delivery: Delivery, signal: AbortSignal): Promise<Attempt> {
    const { id, body, type, run_id = null } = delivery;
    const began = this.#clock.monotonic();
    const secrets = this.#secretsOf(webhook);
    if (secrets.length === 0) {
      const reason =
        "its secret cannot be opened with the key of this gateway: webhook.rotate makes a new one";
      return { ok: false, reason, retry_after_ms: null, ms: 0 };
    }
    const traced = this.#tracing.delivery({ run_id, webhook_id: webhook.id, type });
    const late = new AbortController();
    const cancel = this.#clock.after(TIMEOUT_MS, () => late.abort());
    const at = Math.floor(this.#clock.now() / 1_000);
    const headers = {
      "Content-Type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": String(at),
      "webhook-signature": signStandard(secrets, id, at, body),
      ...(traced !== null && { traceparent: traced.traceparent }),
    };
    try {
      const posted = await this.#post(webhook.url, headers, body, AbortSignal.any([late.signal, signal]));
      const ms = Math.round(this.#clock.monotonic() - began);
      traced?.end(posted.status);
      if (posted.status === null) return { ok: false, reason: posted.reason, retry_after_ms: null, ms };
      const { status, retry_after } = posted;
      if (status >= 200 && status < 300) return { ok: true, status, retry_after_ms: null, ms };
      return {
        ok: false,
        status,
        reason: `answered ${status}`,
        retry_after_ms: this.#waitOf(retry_after),
        ms,
      };
    } finally {
      cancel();
    }
  }

  /** Seconds, or a date. */
  #waitOf(retry_after: string | null): number | null {
    if (retry_after === null) return null;
    const ms = /^\d{1,9}$/.test(retry_after)
      ? Number(retry_after) * 1_000
      : Date.parse(retry_after) - this.#clock.now();
    return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), RETRY_AFTER_MAX_MS);
  }
}
