import type { Journal } from "../core/journal.ts";
import type { Clock } from "../core/ports.ts";
import type { CredentialChange, Credentials } from "../core/principal.ts";
import { tokenCreate, tokenList, tokenRevoke, tokenRotate } from "../protocol/api/auth.ts";
import { append } from "./append.ts";
import type { Call } from "./registry.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

/** What writes a change of the credentials. */
export interface SettleDeps {
  readonly journal: Journal;
  readonly clock: Clock;
}

export interface CredentialDeps extends SettleDeps {
  readonly credentials: Credentials;
}

/** Tokens: the administrator's own matter. */
export function tokenMethods(deps: CredentialDeps): MethodHandler[] {
  const { credentials } = deps;
  return [
    handle(tokenCreate, (params, call) => {
      const change = credentials.createToken(call.caller.principal, params);
      return settle(deps, call, change, (issued) => issued);
    }),
    handle(tokenList, () => ({ tokens: credentials.tokens() })),
    handle(tokenRotate, ({ token_id }, call) => {
      return settle(deps, call, credentials.rotateToken(token_id), (issued) => issued);
    }),
    handle(tokenRevoke, ({ token_id }, call) => {
      const change = credentials.revokeToken(token_id);
      if (change === null) return notThere(call);
      return settle(deps, call, change, () => ({ revoked: true }));
    }),
  ];
}

/** Answers where there is nothing to revoke. */
export function notThere(call: Call): { readonly revoked: false } {
  call.audited?.idle();
  return { revoked: false };
}

/** Writes a change of the credentials; it takes effect and is answered once it is committed. */
export function settle<T>(
  { journal, clock }: SettleDeps,
  call: Call,
  change: CredentialChange<T>,
  answer: (value: T) => unknown,
): undefined {
  call.audited?.concerns(change.id);
  append(call, journal, clock.now(), {
    session: null,
    events: [],
    rows: change.rows,
    remember: {},
    committed: () => answer(change.commit()),
    undo: change.undo,
  });
  return undefined;
}
