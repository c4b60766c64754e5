import type { hookCreate, hookList, hookRotate, hookUpdate } from "../protocol/api/hook.ts";
import type { scheduleCreate, scheduleList, scheduleUpdate } from "../protocol/api/schedule.ts";
import type {
  webhookCreate,
  webhookDeliveries,
  webhookList,
  webhookRedeliver,
  webhookRotate,
  webhookTest,
  webhookUpdate,
} from "../protocol/api/webhook.ts";
import type { ParamsOf, ResultOf } from "../protocol/methods.ts";
import type { Scope } from "../protocol/schema.ts";
import type { Caller, Outcome } from "./call.ts";
import type { CredentialChange, Principal } from "./principal.ts";

/** A change of what somebody set up to happen by itself: as of a credential, with what it was found by. */
export type Change<T> = CredentialChange<T>;

export type HookView = ResultOf<typeof hookList>["hooks"][number];
export type IssuedHook = ResultOf<typeof hookCreate>;

/** Where deliveries of others come in. All of these: @throws GatewayError CONFLICT {kind:"busy"} while a change is on its way */
export interface InboundHooks {
  /** @throws GatewayError INVALID_REQUEST, CONFLICT {kind:"exists"|"full"} */
  create(by: Principal, params: ParamsOf<typeof hookCreate>): Change<IssuedHook>;
  /** Of a user, or everybody's (null), oldest first. */
  list(user: string | null): HookView[];
  /** @throws GatewayError NOT_FOUND, FORBIDDEN */
  update(by: Principal, params: ParamsOf<typeof hookUpdate>): Change<HookView>;
  /** @throws GatewayError NOT_FOUND, FORBIDDEN */
  rotate(by: Principal, params: ParamsOf<typeof hookRotate>): Change<IssuedHook>;
  /** Null: there is none of this user's. */
  remove(by: Principal, hook_id: string): Change<void> | null;
}

export type ScheduleView = ResultOf<typeof scheduleList>["schedules"][number];

/** What is said by itself. All of these: @throws GatewayError CONFLICT {kind:"busy"} while a change is on its way */
export interface Schedules {
  /** @throws GatewayError INVALID_REQUEST, CONFLICT {kind:"full"} */
  create(by: Principal, params: ParamsOf<typeof scheduleCreate>): Change<ScheduleView>;
  /** Of a user, or everybody's (null), oldest first. */
  list(user: string | null): ScheduleView[];
  /** @throws GatewayError NOT_FOUND, FORBIDDEN, INVALID_REQUEST */
  update(by: Principal, params: ParamsOf<typeof scheduleUpdate>): Change<ScheduleView>;
  /** Null: there is none of this user's. */
  remove(by: Principal, schedule_id: string): Change<void> | null;
  /** Says it now. @throws GatewayError NOT_FOUND, FORBIDDEN */
  run(by: Principal, schedule_id: string): Promise<Outcome>;
}

export type WebhookView = ResultOf<typeof webhookList>["webhooks"][number];
export type IssuedWebhook = ResultOf<typeof webhookCreate>;

/** What is delivered to others. Those that change: @throws GatewayError CONFLICT {kind:"busy"} while a change is on its way */
export interface Outbound {
  /** @throws GatewayError INVALID_REQUEST, FORBIDDEN, CONFLICT {kind:"full"} */
  create(by: Principal, params: ParamsOf<typeof webhookCreate>): Change<IssuedWebhook>;
  /** Of a user, or everybody's (null), oldest first. */
  list(user: string | null): Promise<WebhookView[]>;
  /** @throws GatewayError NOT_FOUND, FORBIDDEN, INVALID_REQUEST */
  update(by: Principal, params: ParamsOf<typeof webhookUpdate>): Promise<Change<WebhookView>>;
  /** @throws GatewayError NOT_FOUND, FORBIDDEN */
  rotate(by: Principal, params: ParamsOf<typeof webhookRotate>): Promise<Change<IssuedWebhook>>;
  /** Null: there is none of this user's. */
  remove(by: Principal, webhook_id: string): Change<void> | null;
  /** @throws GatewayError NOT_FOUND, FORBIDDEN */
  test(by: Principal, webhook_id: string): Promise<ResultOf<typeof webhookTest>>;
  /** @throws GatewayError NOT_FOUND, FORBIDDEN */
  deliveries(by: Principal, webhook_id: string): Promise<ResultOf<typeof webhookDeliveries>>;
  /** @throws GatewayError NOT_FOUND, FORBIDDEN */
  redeliver(
    by: Principal,
    webhook_id: string,
    delivery_ids: readonly string[] | undefined,
  ): Promise<ResultOf<typeof webhookRedeliver>>;
}

/** A delivery as it came in. */
export interface Delivery {
  readonly name: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
  readonly remote: string;
  readonly signal: AbortSignal;
}

/** Never rejects. The error of an unknown name and of a wrong secret is the same. */
export type Receive = (delivery: Delivery) => Promise<Outcome>;

/** Runs chat.send for a user who set it up, with the scopes they had then. Never rejects. */
export type SendFor = (
  by: { readonly owner: string; readonly scopes: readonly Scope[] },
  from: Pick<Caller, "client_id" | "remote" | "signal"> & Partial<Pick<Caller, "transport" | "besides">>,
  params: Readonly<Record<string, unknown>>,
) => Promise<Outcome>;
