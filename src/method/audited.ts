import type { Audit } from "../core/audit.ts";
import type { Caller } from "../core/call.ts";
import type { AuditEntry, RowChange } from "../core/operation.ts";
import type { Clock } from "../core/ports.ts";
import type { Concern, MethodDefinition } from "../protocol/methods.ts";

const DETAILS_CHARS = 2_048;

/**
 * What the audit trail says of one request. A success is written with its effect, in one transaction (`row`), where
 * the method writes anything; everything else when the request is answered.
 */
export class Audited {
  readonly #audit: Audit;
  readonly #clock: Clock;
  readonly #caller: Caller;
  readonly #definition: MethodDefinition;
  #concern: Concern = {};
  #isWritten = false;
  #isIdle = false;

  constructor(audit: Audit, clock: Clock, caller: Caller, definition: MethodDefinition) {
    this.#audit = audit;
    this.#clock = clock;
    this.#caller = caller;
    this.#definition = definition;
  }

  /** The params are what they should be. */
  read(params: unknown): void {
    this.#concern = this.#definition.audit?.(params as never) ?? {};
  }

  /** It is about this, whatever the params call it. */
  concerns(target: string): void {
    this.#concern = { ...this.#concern, target };
  }

  /** There was nothing to change: like a refusal it may come any number of times, and is counted. */
  idle(): void {
    this.#isIdle = true;
  }

  row(): RowChange {
    return { kind: "audit", entry: this.#entry("ok") };
  }

  /** The row is committed. */
  written(): void {
    this.#isWritten = true;
  }

  /** The request is answered: `code` is that of the error, null for a success. */
  answered(code: string | null): void {
    if (code !== null || this.#isIdle) this.#audit.tally(this.#entry(code ?? "ok"));
    else if (!this.#isWritten) this.#audit.record(this.#entry("ok"));
  }

  #entry(outcome: string): AuditEntry {
    const { principal, transport, remote, client_id } = this.#caller;
    const { user, method, credential } = principal;
    const { target = null, details } = this.#concern;
    const text = details === undefined ? null : JSON.stringify(details);
    return {
      ts: this.#clock.now(),
      action: this.#definition.name,
      outcome,
      user,
      method,
      credential,
      transport,
      remote,
      client_id,
      target,
      details: text !== null && text.length <= DETAILS_CHARS ? text : null,
      count: 1,
    };
  }
}
