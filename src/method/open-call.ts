import type { Caller, Outcome, RequestMark } from "../core/call.ts";
import type { IdempotencyRow } from "../core/operation.ts";
import { isElsewhere } from "../core/outage.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Audited } from "./audited.ts";
import type { KeyedRequest } from "./idempotency.ts";
import type { Principal } from "../core/principal.ts";
import type { Call } from "./registry.ts";

export interface OpenCallDeps {
  /** Called once. */
  readonly answer: (outcome: Outcome) => void;
  readonly publicError: (error: unknown) => GatewayError;
  readonly count: (error: GatewayError | null) => void;
  readonly isLive: (principal: Principal) => boolean;
  readonly mark: RequestMark;
}

/** A call until it is answered; its callbacks run once. */
export class OpenCall implements Call {
  readonly caller: Caller;
  keyed: KeyedRequest | null = null;
  audited: Audited | null = null;
  answered = false;
  /** Set by the registry: what to do when the store finds the key taken after all. */
  onPrior: (prior: IdempotencyRow) => void = () => undefined;
  onEntered: () => void = () => undefined;
  /** Set by the registry: has it carried out by the node that has the session. */
  onElsewhere: (() => void) | null = null;
  readonly #deps: OpenCallDeps;
  readonly #after: (() => void)[] = [];

  constructor(caller: Caller, deps: OpenCallDeps) {
    this.caller = caller;
    this.#deps = deps;
  }

  get mark(): RequestMark {
    return this.#deps.mark;
  }
  get user(): string {
    return this.caller.principal.user;
  }

  ok(payload: unknown): void {
    this.#settle({ ok: true, payload }, null);
  }
  okText(text: string): void {
    this.#settle({ ok: true, text }, null);
  }
  fail(error: unknown): void {
    const elsewhere = isElsewhere(error) ? this.onElsewhere : null;
    if (elsewhere !== null && !this.answered) {
      this.onElsewhere = null;
      return elsewhere();
    }
    // Also where it is too late to tell the caller: what is a bug is in the log.
    const known = this.#deps.publicError(error);
    return this.#settle({ ok: false, error: known }, known);
  }
  requireLive(): void {
    if (this.#deps.isLive(this.caller.principal)) return;
    throw new GatewayError("UNAUTHORIZED", "the credential of this request was revoked or has expired");
  }
  entered(): void {
    this.onEntered();
    this.caller.relayed?.entered();
  }
  onAnswer(task: () => void): void {
    if (this.answered) task();
    else this.#after.push(task);
  }

  #settle(outcome: Outcome, error: GatewayError | null): void {
    if (this.answered) return;
    this.answered = true;
    this.#deps.count(error);
    this.audited?.answered(error?.reason ?? null);
    try {
      this.#deps.answer(outcome);
    } finally {
      this.entered();
      for (const task of this.#after) task();
    }
  }
}
