import type { Change, IssuedWebhook, WebhookView } from "../core/automation.ts";
import { newId } from "../core/id.ts";
import type { Limits } from "../core/limits.ts";
import type { Mirror } from "../core/mirrors.ts";
import type { Clock } from "../core/ports.ts";
import type { Makers } from "../core/maker.ts";
import { changedBy } from "../core/maker.ts";
import type { Principal } from "../core/principal.ts";
import type { Store } from "../core/store.ts";
import type { UserChange } from "../core/users.ts";
import type { webhookCreate, webhookRotate, webhookUpdate } from "../protocol/api/webhook.ts";
import { isOf } from "../core/owed.ts";
import { GatewayError } from "../protocol/errors.ts";
import { DURABLE } from "../protocol/events.ts";
import type { ParamsOf } from "../protocol/methods.ts";
import { OwnedRecords, requireScopes, suspension } from "./records.ts";
import type { Sealer } from "./sealed.ts";
import { newSigningSecret } from "./signature.ts";
import type { Failing, StoredWebhook } from "./stored-webhook.ts";
import { viewWebhook } from "./stored-webhook.ts";

export const WEBHOOKS = "webhook";

export interface WebhooksOptions {
  readonly clock: Clock;
  readonly limits: Pick<Limits, "webhooks_per_user">;
  readonly sealer: Sealer;
  readonly makers: Makers;
  /** What is wrong with a URL is thrown. */
  readonly checkUrl: (url: string) => string;
  /** Types or their readers changed. */
  readonly onChange: () => void;
}

/** The webhooks of this gateway. Since when their receivers take nothing whoever delivers adds to what is shown of them. */
export class WebhookBook {
  readonly #options: WebhooksOptions;
  readonly #all: OwnedRecords<StoredWebhook>;

  constructor(options: WebhooksOptions) {
    this.#options = options;
    const per_user = (): number => options.limits.webhooks_per_user;
    this.#all = new OwnedRecords({ collection: WEBHOOKS, noun: "webhook", per_user });
  }

  async load(store: Store): Promise<void> {
    this.#all.load(await store.records(WEBHOOKS));
  }

  mirrors(store: Store): Mirror[] {
    return [this.#all.mirror(store, this.#options.onChange)];
  }

  get(id: string): StoredWebhook | undefined {
    return this.#all.get(id);
  }
  every(): StoredWebhook[] {
    return this.#all.list(null);
  }
  list(user: string | null): WebhookView[] {
    return this.#all.list(user).map((each) => this.#view(each));
  }

  /** Of whose scopes it has more than `by` has, it is not theirs to lead elsewhere. @throws GatewayError NOT_FOUND, FORBIDDEN */
  requireAs(by: Principal, id: string): StoredWebhook {
    const webhook = this.#all.require(by, id);
    const { reads, sessions } = webhook;
    requireScopes(by, [
      ...(reads ? ["chat.read" as const] : []),
      ...(sessions === "all" ? ["admin" as const] : []),
    ]);
    return webhook;
  }

  create(by: Principal, params: ParamsOf<typeof webhookCreate>): Change<IssuedWebhook> {
    const { user, scopes } = by;
    this.#all.requireRoom(user);
    const { url, types, name = "", sessions = "own" } = params;
    if (sessions === "all" && !scopes.has("admin")) {
      throw new GatewayError("FORBIDDEN", "events of everybody's sessions are for administrators", {
        details: { kind: "scope", scope: "admin" },
      });
    }
    const now = this.#options.clock.now();
    const id = newId("whk", now);
    const secret = newSigningSecret("standard");
    const webhook: StoredWebhook = {
      id,
      owner: user,
      made_by: this.#options.makers.of(by),
      name,
      url: this.#url(url),
      types: wanted(types),
      sessions,
      reads: scopes.has("chat.read"),
      enabled: true,
      reason: null,
      failing: null,
      since: now,
      created_at: now,
      updated_at: now,
      secret: this.#options.sealer.seal(secret, id),
      previous: null,
    };
    return this.#put(webhook, () => ({ secret, ...this.#view(webhook) }));
  }

  update(by: Principal, { webhook_id, ...said }: ParamsOf<typeof webhookUpdate>): Change<WebhookView> {
    const old = this.requireAs(by, webhook_id);
    const now = this.#options.clock.now();
    const comesBack = said.enabled === true && !old.enabled;
    const next: StoredWebhook = {
      ...old,
      ...said,
      ...(said.url !== undefined && { url: this.#url(said.url) }),
      ...(said.types !== undefined && { types: wanted(said.types) }),
      ...(comesBack && { since: now }),
      ...((comesBack || said.url !== undefined) && { failing: null }),
      // Whoever says either knows why it was turned off.
      ...(said.enabled !== undefined && { reason: null }),
      ...changedBy(old, this.#options.makers.of(by)),
      updated_at: now,
    };
    return this.#put(next, () => this.#view(next));
  }

  rotate(
    by: Principal,
    { webhook_id, keep_secs = 86_400 }: ParamsOf<typeof webhookRotate>,
  ): Change<IssuedWebhook> {
    const old = this.requireAs(by, webhook_id);
    const now = this.#options.clock.now();
    const secret = newSigningSecret("standard");
    const previous = keep_secs === 0 ? null : { secret: old.secret, until: now + keep_secs * 1_000 };
    const sealed = this.#options.sealer.seal(secret, old.id);
    const maker = changedBy(old, this.#options.makers.of(by));
    const next = { ...old, ...maker, secret: sealed, previous, updated_at: now };
    return this.#put(next, () => ({ secret, ...this.#view(next) }));
  }

  /** Turned off by itself; null: somebody changes it right now. */
  turnOff(webhook: StoredWebhook, reason: string): Change<void> | null {
    if (this.#all.isChanging(webhook.id)) return null;
    const next = { ...webhook, enabled: false, reason, failing: null, updated_at: this.#options.clock.now() };
    return this.#put(next, () => undefined);
  }

  /** Since when its receiver takes nothing, which is no change of anybody's; null: somebody changes it right now, or it is gone. */
  setFailing(id: string, failing: Failing | null): Change<void> | null {
    const webhook = this.#all.get(id);
    if (webhook === undefined || this.#all.isChanging(id)) return null;
    return this.#all.put({ ...webhook, failing }, () => undefined);
  }

  remove(by: Principal, id: string): Change<void> | null {
    return this.#all.find(by, id) === null ? null : this.#drop(id);
  }

  forget(user: string): UserChange {
    return this.#all.forget(user, ({ id }) => this.#drop(id));
  }

  /** Secrets that deliveries are signed with now, the newest first. */
  secretsOf({ id, secret, previous }: StoredWebhook): string[] {
    const { sealer, clock } = this.#options;
    const sealed = previous !== null && previous.until > clock.now() ? [secret, previous.secret] : [secret];
    return sealed.map((each) => sealer.open(each, id)).filter((each) => each !== null);
  }

  #drop(id: string): Change<void> {
    return this.#all.drop(id, [], this.#options.onChange);
  }

  #put<R>(webhook: StoredWebhook, answer: () => R): Change<R> {
    return this.#all.put(webhook, () => {
      this.#options.onChange();
      return answer();
    });
  }

  #view(webhook: StoredWebhook): WebhookView {
    const { clock, makers } = this.#options;
    const view = viewWebhook(webhook, clock.now());
    return { ...view, ...suspension(makers, webhook) };
  }

  /** @throws GatewayError INVALID_REQUEST */
  #url(text: string): string {
    try {
      return this.#options.checkUrl(text);
    } catch (error) {
      throw invalid("url", error instanceof Error ? error.message : String(error));
    }
  }
}

/** Text that is being written is followed on a socket, and of what is deleted nothing is told. @throws GatewayError INVALID_REQUEST */
function wanted(types: readonly string[]): readonly string[] {
  const known = Object.keys(DURABLE).filter((type) => !UNDELIVERED.has(type));
  for (const type of types) {
    if (type.startsWith("app.") || known.some((each) => isOf(each, type))) continue;
    throw invalid("types", `"${type.slice(0, 64)}" is none that is delivered: app.*, ${known.join(", ")}`);
  }
  return types;
}

export const UNDELIVERED: ReadonlySet<string> = new Set(["message.delta", "session.closed"]);

function invalid(path: string, what: string): GatewayError {
  return new GatewayError("INVALID_REQUEST", `${path}: ${what}`, {
    details: { kind: "schema", path },
    http: 422,
  });
}
