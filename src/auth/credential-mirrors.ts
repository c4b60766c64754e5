import type { Mirror } from "../core/mirrors.ts";
import { mirrorOf } from "../core/mirrors.ts";
import type { Store } from "../core/store.ts";
import type { Book } from "./book.ts";
import type { AuthSessionEntry, Entry, TokenEntry } from "./entry.ts";
import { AUTH_SESSIONS, authSessionFrom, deviceFrom, DEVICES, tokenFrom, TOKENS } from "./entry.ts";
import { listScopes } from "./scopes.ts";

export interface CredentialMirrorsOptions {
  readonly store: Store;
  readonly book: Book;
  /** Whether a stored auth session belongs to what it was made with. */
  readonly holds: (entry: AuthSessionEntry) => boolean;
  /** Whether a token is the one whose secret stands in this data directory. */
  readonly isHere: (entry: TokenEntry) => boolean;
  /** That one was revoked, or its secret is another now. */
  readonly onLocalGone: () => void;
}

/** Tokens, devices and logins that other nodes make and end: what ends ends here, too, with all that came in by it. */
export function credentialMirrors(options: CredentialMirrorsOptions): Mirror[] {
  const { store, book, holds, isHere, onLocalGone } = options;

  function follow(kind: Entry["kind"], id: string, next: Entry | null): void {
    const now = book.get(id);
    if (now !== undefined && now.kind !== kind) return;
    if (now !== undefined && next !== null && isSame(now, next)) return update(now, next);
    // What has expired ends by itself, and is told apart then.
    if (now !== undefined && (next !== null || !hasExpired(now))) {
      book.end(id);
      if (now.kind === "token" && isHere(now)) onLocalGone();
    }
    if (next !== null) book.add(next);
    return undefined;
  }

  function hasExpired({ principal }: Entry): boolean {
    return !book.holds(principal);
  }

  const idsOf = (kind: Entry["kind"]) => (): string[] =>
    [...book.entries()].filter((entry) => entry.kind === kind).map(({ id }) => id);
  return [
    mirrorOf(store, TOKENS, {
      apply: (id, row) => follow("token", id, row && tokenFrom(row)),
      ids: idsOf("token"),
    }),
    mirrorOf(store, DEVICES, {
      apply: (id, row) => follow("device", id, row && deviceFrom(row)),
      ids: idsOf("device"),
    }),
    // After what they were made with.
    mirrorOf(store, AUTH_SESSIONS, {
      apply(id, row) {
        const entry = row && authSessionFrom(row, (credential) => book.get(credential)?.principal);
        follow("auth_session", id, entry !== null && holds(entry) ? entry : null);
      },
      ids: idsOf("auth_session"),
    }),
  ];
}

/** Whether what came in by the one may stay where the other is in its place. */
function isSame(now: Entry, next: Entry): boolean {
  const of = ({ digest, principal: { user, scopes, expires_at } }: Entry): string =>
    JSON.stringify([digest.toString("hex"), user, listScopes(scopes), expires_at]);
  return of(now) === of(next);
}

function update(now: Entry, next: Entry): void {
  if (now.kind === "auth_session" || next.kind === "auth_session") return;
  if (now.kind === "device" && next.kind === "device") now.name = next.name;
  now.stored = next.stored;
  if ((next.last_used_at ?? 0) <= (now.last_used_at ?? 0)) return;
  now.last_used_at = now.stored_used_at = next.last_used_at;
}
