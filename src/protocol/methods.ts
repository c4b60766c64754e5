import type { Static, TObject, TSchema } from "@sinclair/typebox";
import type { Scope } from "./schema.ts";

/** What an audited request is about, besides who asked. Never a secret, no text of a message. */
export interface Concern {
  /** Id of what it concerns. */
  readonly target?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * A method, defined once: every transport, the docs, the clients and the command line are made from this.
 * `scope` null means any authenticated principal. `mutates` marks what changes state (ordered per session, counted
 * against the rate limit); `idempotent` that an idempotency_key is honoured; `audit` that every use of it, refused ones
 * too, goes into the audit trail.
 */
export interface MethodDefinition<P extends TObject = TObject, R extends TSchema = TSchema> {
  readonly name: string;
  readonly scope: Scope | null;
  readonly params: P;
  readonly result: R;
  readonly doc: string;
  readonly mutates?: boolean;
  readonly idempotent?: boolean;
  readonly aliases?: readonly string[];
  audit?(params: Static<P>): Concern;
}

export type ParamsOf<M extends MethodDefinition> = Static<M["params"]>;
export type ResultOf<M extends MethodDefinition> = Static<M["result"]>;

export function defineMethod<P extends TObject, R extends TSchema>(
  definition: MethodDefinition<P, R>,
): MethodDefinition<P, R> {
  return Object.freeze(definition);
}
