import type { hookCreate, hookList, hookRotate, hookUpdate } from "../protocol/api/hook.ts";
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
  /** @throws GatewayError NOT_FOUND */
  update(by: Principal, params: ParamsOf<typeof hookUpdate>): Change<HookView>;
  /** @throws GatewayError NOT_FOUND */
  rotate(by: Principal, params: ParamsOf<typeof hookRotate>): Change<IssuedHook>;
  /** Null: there is none of this user's. */
  remove(by: Principal, hook_id: string): Change<void> | null;
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
  from: Pick<Caller, "client_id" | "remote" | "signal"> & Partial<Pick<Caller, "transport">>,
  params: Readonly<Record<string, unknown>>,
) => Promise<Outcome>;
