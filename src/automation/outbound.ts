import type { Change, Outbound } from "../core/automation.ts";
import type { Stats, WebhookCounts } from "../core/stats.ts";
import type { Store } from "../core/store.ts";
import type { Tracing } from "../core/tracing.ts";
import type { UserChange } from "../core/users.ts";
import { newId } from "../core/id.ts";
import type { Limits } from "../core/limits.ts";
import type { Mirror } from "../core/mirrors.ts";
import type { OtherNodes } from "../core/other-nodes.ts";
import { Attempts } from "./attempts.ts";
import type { Post } from "./attempts.ts";
import { DeadLetters } from "./dead-letters.ts";
import type { DeliveriesOptions } from "./deliveries.ts";
import { Deliveries } from "./deliveries.ts";
import type { Going } from "./going.ts";
import { createGoings } from "./going.ts";
import type { Sealer } from "./sealed.ts";
import type { StoredWebhook } from "./stored-webhook.ts";
import { WebhookBook } from "./webhooks.ts";

export interface OutboundOptions extends Omit<
  DeliveriesOptions,
  "book" | "dead" | "attempts" | "limits" | "store" | "stats"
> {
  readonly limits: Pick<Limits, "webhooks_per_user" | "webhook_attempts" | "webhook_dead_letters">;
  readonly store: Store;
  readonly stats: Pick<Stats, "deliveries" | "webhooks" | "owed_sessions" | "dead_letters">;
  readonly sealer: Sealer;
  readonly post: Post;
  readonly tracing: Pick<Tracing, "delivery">;
  readonly checkUrl: (url: string) => string;
  readonly nodes: OtherNodes;
}

export interface OutboundBook extends Outbound {
  load(): Promise<void>;
  mirrors(): Mirror[];
  start(): void;
  stop(): Promise<void>;
  forget(user: string): UserChange;
}

const AT_A_TIME = 20;

/** Webhooks, and what is delivered to them. */
export function createOutbound(options: OutboundOptions): OutboundBook {
  const { clock, store, limits } = options;
  const book: WebhookBook = new WebhookBook({
    ...options,
    onChange: () => deliveries.changed(),
  });
  const dead = new DeadLetters({ ...options, limits });
  const attempts = new Attempts({
    clock,
    tracing: options.tracing,
    post: options.post,
    secretsOf: (webhook) => book.secretsOf(webhook),
  });
  const deliveries: Deliveries = new Deliveries({ ...options, book, dead, attempts });
  const signal = new AbortController().signal;
  const goings = createGoings({ ...options, deliveries });
  const took = (id: string): void => goings.took(id);
  const redeliver = redelivering({ dead, attempts, deliveries, took });
  count(options, { book, dead, deliveries });
  return {
    create: (by, params) => book.create(by, params),
    async list(user) {
      const all = book.list(user);
      const going = await goings.of(all.map(({ webhook_id }) => webhook_id));
      return all.map((each, at) => withGoing(each, going[at]));
    },
    async update(by, params) {
      const { id } = book.requireAs(by, params.webhook_id);
      // Where it is from now on nothing has failed.
      const [going] = params.url === undefined ? await goings.of([id]) : [];
      return withView(book.update(by, params), (view) => withGoing(view, going));
    },
    async rotate(by, params) {
      const { id } = book.requireAs(by, params.webhook_id);
      const [going] = await goings.of([id]);
      return withView(book.rotate(by, params), (view) => withGoing(view, going));
    },
    remove(by, id) {
      const change = book.remove(by, id);
      return change && { ...change, commit: () => (change.commit(), void dead.clear(id)) };
    },
    async test(by, id) {
      const webhook = book.requireAs(by, id);
      const now = clock.now();
      const timestamp = new Date(now).toISOString();
      const body = JSON.stringify({ type: "webhook.test", timestamp, webhook_id: id, data: {} });
      const delivery = { id: newId("del", now), body, type: "webhook.test" };
      const { retry_after_ms: _, ...attempt } = await attempts.try(webhook, delivery, signal);
      if (attempt.ok) took(id);
      return attempt;
    },
    async deliveries(by, id) {
      book.requireAs(by, id);
      const list = (await dead.list(id)).map(({ webhook_id: _, ...each }) => each);
      const [going] = await goings.of([id]);
      return { dead: list, waiting_sessions: going?.waiting ?? 0 };
    },
    redeliver: async (by, id, delivery_ids) => redeliver(book.requireAs(by, id), delivery_ids),
    load: () => book.load(store).then(() => deliveries.load()),
    mirrors: () => [...book.mirrors(store), deliveries.mirror(store)],
    start: () => deliveries.start(),
    stop: () => deliveries.stop(),
    forget(user) {
      const ids = book.list(user).map(({ webhook_id }) => webhook_id);
      const change = book.forget(user);
      return { ...change, commit: () => (change.commit(), ids.forEach((id) => void dead.clear(id))) };
    },
  };
}

interface Redelivering {
  readonly dead: DeadLetters;
  readonly attempts: Attempts;
  readonly deliveries: Deliveries;
  readonly took: (webhook_id: string) => void;
}

/** Tries what was given up once more: some of it, or all. */
function redelivering({ dead, attempts, deliveries, took }: Redelivering) {
  const { signal } = new AbortController();
  return async (webhook: StoredWebhook, delivery_ids: readonly string[] | undefined) => {
    const all = await dead.list(webhook.id);
    const chosen =
      delivery_ids === undefined ? all : all.filter((each) => delivery_ids.includes(each.delivery_id));
    const delivered: string[] = [];
    const failed: { delivery_id: string; reason: string }[] = [];
    const work = chosen.slice(0, AT_A_TIME).map(async ({ delivery_id, session_id, type }) => {
      const body = await dead.body(delivery_id);
      if (body === null || !(await deliveries.mayHave(webhook, session_id)))
        return void failed.push({ delivery_id, reason: "its owner may not read this session any more" });
      const { ok, reason = "" } = await attempts.try(webhook, { id: delivery_id, body, type }, signal);
      if (ok) took(webhook.id);
      if (ok) delivered.push(delivery_id);
      else failed.push({ delivery_id, reason });
      return undefined;
    });
    await Promise.all(work);
    if (delivered.length > 0) await dead.drop(delivered);
    return { delivered, failed };
  };
}

function withGoing<T extends object>(view: T, going: Going | undefined): T {
  const failing_since = going?.failing_since ?? null;
  return { ...view, ...(failing_since !== null && { failing_since }) };
}

function withView<T>(change: Change<T>, shown: (view: T) => T): Change<T> {
  return { ...change, commit: () => shown(change.commit()) };
}

interface Counting {
  readonly book: WebhookBook;
  readonly dead: DeadLetters;
  readonly deliveries: Deliveries;
}

/** Where nodes share the store all of them have all of it: the one that delivers counts, so that the sum of all nodes is right. */
function count({ stats, owed }: Pick<OutboundOptions, "stats" | "owed">, each: Counting): void {
  const { book, dead, deliveries } = each;
  const counts = (): WebhookCounts => {
    const found = { on: 0, failing: 0, suspended: 0, off: 0, given_up: 0 };
    if (!deliveries.isOpen) return found;
    for (const { webhook_id, enabled, reason, suspended } of book.list(null)) {
      if (!enabled) found[reason === undefined ? "off" : "given_up"]++;
      else if (suspended !== undefined) found.suspended++;
      else if (deliveries.failingSince(webhook_id) !== null) found.failing++;
      else found.on++;
    }
    return found;
  };
  stats.webhooks = counts;
  stats.owed_sessions = () => (deliveries.isOpen ? owed.size : 0);
  stats.dead_letters = () => (deliveries.isOpen ? dead.count() : 0);
}
