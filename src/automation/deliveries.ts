import type { Audit } from "../core/audit.ts";
import type { Journal } from "../core/journal.ts";
import type { Limits } from "../core/limits.ts";
import type { Makers } from "../core/maker.ts";
import type { RowChange } from "../core/operation.ts";
import type { Mirror } from "../core/mirrors.ts";
import { mirrorOf } from "../core/mirrors.ts";
import type { Debt, Owed } from "../core/owed.ts";
import { OWED } from "../core/owed.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Directory, SessionRef } from "../core/session.ts";
import type { RecordRow } from "../core/record.ts";
import type { Stats } from "../core/stats.ts";
import type { Store } from "../core/store.ts";
import type { StoredEvent } from "../protocol/frames.ts";
import type { Attempt, Attempts, Delivery } from "./attempts.ts";
import type { DeadLetters } from "./dead-letters.ts";
import { bodyOf, idOf, RETRY_MS, waitAfter } from "./delivery.ts";
import { Meant } from "./meant.ts";
import { Progress } from "./progress.ts";
import type { DeadDelivery, StoredWebhook } from "./stored-webhook.ts";
import { Troubles } from "./troubles.ts";
import { Waits } from "./waits.ts";
import type { WebhookBook } from "./webhooks.ts";

export interface DeliveriesOptions {
  readonly owed: Owed;
  readonly book: WebhookBook;
  readonly dead: DeadLetters;
  readonly attempts: Attempts;
  readonly store: Pick<Store, "page" | "session" | "records">;
  readonly journal: Pick<Journal, "append">;
  readonly directory: Pick<Directory, "mayRead">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly audit: Audit;
  readonly stats: Pick<Stats, "deliveries">;
  readonly limits: Pick<Limits, "webhook_attempts">;
  readonly makers: Makers;
}

/** Reads the logs that somebody is owed something of, and delivers it: one after another of each session, for each webhook. */
export class Deliveries {
  readonly #options: DeliveriesOptions;
  readonly #lanes = new Map<string, Promise<void>>();
  readonly #troubles: Troubles;
  readonly #progress: Progress;
  readonly #meant: Meant;
  readonly #waits: Waits;
  #abort = new AbortController();
  #isOpen = false;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
    this.#troubles = new Troubles(options);
    this.#meant = new Meant(options);
    this.#waits = new Waits(options.clock);
    const everybody = (): string[] =>
      options.book.every().flatMap(({ id, enabled }) => (enabled ? [id] : []));
    this.#progress = new Progress({ ...options, everybody });
    options.owed.onOwed = (session_id) => this.#goOn(session_id);
  }

  async load(): Promise<void> {
    const { owed, store } = this.#options;
    owed.load(await store.records(OWED));
    this.changed();
  }

  /** How it follows what other nodes owe, and deliver. */
  mirror(store: Store): Mirror {
    const { owed } = this.#options;
    const apply = (id: string, row: RecordRow | null): void => {
      if (row !== null) owed.load([row]);
      // Whoever delivers has dropped it: more of it may have been appended since it was read, and be on its way by now.
      else if (this.#isOpen && owed.get(id)?.head !== 0) owed.grown(id);
      else owed.gone(id);
    };
    return mirrorOf(store, OWED, { apply, ids: () => owed.all() });
  }

  /** Webhooks came, went or changed. */
  changed(): void {
    const { owed, book } = this.#options;
    for (const id of this.#troubles.forgetOthers()) this.#waits.goOn(id);
    this.#meant.changed();
    owed.want([...new Set(book.every().flatMap((each) => (each.enabled ? each.types : [])))]);
    for (const session_id of owed.all()) {
      this.#goOn(session_id);
      // Where nobody is left who is owed anything, that is to be known, too.
      this.#touch(session_id);
    }
  }

  start(): void {
    this.#isOpen = true;
    this.#abort = new AbortController();
    this.#troubles.begin();
    this.changed();
  }

  /** What is on its way is given up, and delivered again after the next start, here or at another node. Idempotent. */
  async stop(): Promise<void> {
    this.#isOpen = false;
    this.#abort.abort();
    await Promise.allSettled(this.#lanes.values());
    this.#progress.write();
  }

  /** Whether it is this node that delivers. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  failingSince(webhook_id: string): number | null {
    return this.#troubles.since(webhook_id);
  }

  /** It took something that was sent by hand. */
  took(webhook_id: string): void {
    if (!this.#isOpen) return;
    this.#troubles.took(webhook_id);
    this.#waits.goOn(webhook_id);
  }

  waiting(webhook_id: string): number {
    return [...this.#lanes.keys()].filter((key) => key.startsWith(`${webhook_id} `)).length;
  }

  /** Asked before every attempt: meanwhile its maker may have lost their rights, and the session may be gone, or shared with them no more. */
  async mayHave(webhook: StoredWebhook, session_id: string): Promise<boolean> {
    const { store, directory, makers } = this.#options;
    const session = await store.session(session_id);
    const rights = makers.rights(webhook);
    if (session === null || typeof rights === "string") return false;
    if (!webhook.reads || !rights.has("chat.read")) return false;
    return webhook.sessions === "all" ? rights.has("admin") : directory.mayRead(session, webhook.owner);
  }

  #goOn(session_id: string): void {
    const debt = this.#options.owed.get(session_id);
    // Before the first event of it is committed there may not even be a session.
    if (!this.#isOpen || debt?.head === 0) return;
    for (const webhook of this.#options.book.every()) {
      const key = `${webhook.id} ${session_id}`;
      if (!webhook.enabled || this.#lanes.has(key)) continue;
      if (debt !== undefined && this.#meant.passes(webhook, debt)) {
        this.#touch(session_id);
        continue;
      }
      let isCutShort = false;
      const lane = this.#read(webhook.id, session_id)
        .catch(async (error: unknown) => {
          this.#options.log.error({ webhook_id: webhook.id, err: error }, "a webhook failed unexpectedly");
          isCutShort = true;
          await this.#later(webhook.id);
        })
        .finally(() => {
          this.#lanes.delete(key);
          this.#touch(session_id);
          const debt = this.#options.owed.get(session_id);
          if (debt === undefined) return;
          // Something came while it was about to end.
          const isBehind = (debt.cursors.get(webhook.id) ?? -1) < debt.head;
          if (isBehind || isCutShort) this.#goOn(session_id);
        });
      this.#lanes.set(key, lane);
    }
  }

  /** Everything of one session that is owed to one webhook. */
  async #read(webhook_id: string, session_id: string): Promise<void> {
    const { owed, store } = this.#options;
    for (;;) {
      const debt = owed.get(session_id);
      if (debt === undefined || !this.#isOpen) return undefined;
      const { grown, since } = debt;
      const row = await store.session(session_id);
      if (row === null) return void this.#append([owed.forget(session_id)]);
      const session: SessionRef = { id: row.id, owner: row.owner, name: row.name };
      // After a restart that is all there is, and of another node, unless more was heard of meanwhile.
      if (debt.head === Infinity && debt.grown === grown) debt.head = row.head;
      const at = debt.cursors.get(webhook_id) ?? debt.from ?? row.floor;
      if (at >= debt.head) return void debt.cursors.set(webhook_id, at);
      const after = Math.max(at, row.floor);
      if (after > at)
        this.#options.log.error(
          { webhook_id, session_id, from: at, to: after },
          "events were erased before they were delivered",
        );
      const page = await store.page(session_id, after, debt.head);
      if (page === null) return void this.#append([owed.forget(session_id)]);
      // Something older is owed, too: it is read from there.
      if (debt.since !== since) continue;
      if (page.events.length === 0) return void debt.cursors.set(webhook_id, debt.head);
      for (const event of page.events) {
        if (!(await this.#pass(webhook_id, session, debt, page.epoch, event))) return undefined;
        if (debt.since !== since) break;
        debt.cursors.set(webhook_id, event.seq);
        this.#touch(session_id);
      }
    }
  }

  /** False: it is not known whether it arrived, and nothing may come before it. */
  async #pass(
    id: string,
    session: SessionRef,
    debt: Debt,
    epoch: string,
    event: StoredEvent,
  ): Promise<boolean> {
    const webhook = this.#options.book.get(id);
    if (webhook === undefined || !webhook.enabled) return false;
    if (!this.#meant.isMeant(webhook, debt, event)) return true;
    const { type, run_id, seq } = event;
    const body = bodyOf(webhook, session, epoch, event);
    const delivery = { id: idOf(id, session, epoch, seq), body, type, run_id };
    return this.#deliver(id, delivery, { session_id: session.id, seq, type });
  }

  async #deliver(
    id: string,
    delivery: Delivery,
    about: Pick<DeadDelivery, "session_id" | "seq" | "type">,
  ): Promise<boolean> {
    const { book, attempts, dead, clock, limits, stats } = this.#options;
    let url: string | undefined;
    for (let tries = 1; ; tries++) {
      await this.#until(id, this.#troubles.until(id));
      const webhook = book.get(id);
      if (webhook === undefined || !webhook.enabled || !this.#isOpen) return false;
      // Where it is now it was not tried yet.
      if (url !== webhook.url) [url, tries] = [webhook.url, 1];
      if (!(await this.mayHave(webhook, about.session_id))) return true;
      const attempt = await attempts.try(webhook, delivery, this.#abort.signal);
      if (!this.#isOpen) return false;
      stats.deliveries[attempt.ok ? "taken" : "failed"]++;
      if (attempt.ok) {
        this.#troubles.took(id);
        return true;
      }
      const latest = book.get(id);
      // It went while it was sent something: there is nobody to try again for. Elsewhere, or off, it did not fail.
      if (latest === undefined) return false;
      if (latest.url !== webhook.url || !latest.enabled) continue;
      const wait = waitAfter(attempt, tries);
      const next = this.#troubles.failed(id, attempt, wait);
      if (next === "off") return this.#turnOff(latest, attempt);
      if (next === "last" || tries >= limits.webhook_attempts) {
        if (!(await this.mayHave(webhook, about.session_id))) return true;
        const { reason = "" } = attempt;
        const is = { ...about, webhook_id: id, attempts: tries, reason, failed_at: clock.now() };
        if (!(await dead.add(delivery.id, is, delivery.body))) return this.#later(id);
        stats.deliveries.given_up++;
        return true;
      }
      await this.#until(id, clock.monotonic() + wait);
    }
  }

  async #turnOff(webhook: StoredWebhook, { reason = "" }: Attempt): Promise<false> {
    const { book, log, audit } = this.#options;
    const why =
      reason === "answered 410"
        ? "the receiver is gone (410)"
        : `nothing was taken for three days: ${reason}`;
    const change = book.turnOff(webhook, why);
    if (change === null) return this.#later(webhook.id);
    if (!(await this.#append(change.rows))) {
      change.undo();
      return this.#later(webhook.id);
    }
    change.commit();
    this.#troubles.took(webhook.id);
    log.warn({ webhook_id: webhook.id, user: webhook.owner, reason: why }, "a webhook was turned off");
    const details = JSON.stringify({ reason: why });
    audit.record({ action: "webhook.disable", user: webhook.owner, target: webhook.id, details });
    return false;
  }

  /** What cannot be written now is looked at again. */
  async #later(webhook_id: string): Promise<false> {
    await this.#until(webhook_id, this.#options.clock.monotonic() + RETRY_MS);
    return false;
  }

  /** Resolves then (monotonic ms), when its receiver is another or takes something again, or at a stop. */
  #until(webhook_id: string, at: number): Promise<void> {
    return this.#waits.until(webhook_id, at, this.#abort.signal);
  }

  #touch(session_id: string): void {
    if (this.#isOpen) this.#progress.touch(session_id);
  }

  #append(rows: readonly RowChange[]): Promise<boolean> {
    return this.#progress.append(rows);
  }
}
