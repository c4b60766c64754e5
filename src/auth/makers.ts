import type { MadeBy, Maker, Makers, Suspended } from "../core/maker.ts";
import type { Principal } from "../core/principal.ts";
import type { Scope } from "../protocol/schema.ts";
import { SCOPES } from "../protocol/schema.ts";
import type { Book } from "./book.ts";
import { OWNER } from "./owner.ts";

const EVERYTHING: ReadonlySet<Scope> = new Set(SCOPES);

/**
 * What goes on without anybody connected does what its maker may do at that moment. A login stands for what it began with:
 * that it ends changes nothing, that the token, the device or the password behind it ends does.
 * @param named whom the configuration lets in by themselves, and as what
 */
export function createMakers(
  book: Book,
  isShutOut: (user: string) => boolean,
  named: () => ReadonlyMap<string, readonly Scope[]>,
): Makers {
  function of({ user, method, credential }: Principal): Maker {
    const entry = credential === null ? undefined : book.get(credential);
    if (entry?.kind !== "auth_session") return { user, method, credential };
    const behind = entry.parent === null ? undefined : book.principal(entry.parent);
    if (behind !== undefined) return of(behind);
    return { user, method: entry.method, credential: entry.parent };
  }

  function scopesOf({ user, method, credential }: Maker): ReadonlySet<Scope> | null {
    if (isShutOut(user)) return null;
    if (credential !== null) {
      const principal = book.principal(credential);
      return principal?.user === user && book.holds(principal) ? principal.scopes : null;
    }
    // Who may speak for whom without one is up to the machine, or to the program that the gateway runs in.
    if (method !== "tailscale") return EVERYTHING;
    const granted = named().get(user);
    return granted === undefined ? null : new Set(granted);
  }

  /** All that somebody may do, by whatever they come in. */
  function allOf(user: string): ReadonlySet<Scope> {
    const all = new Set(user === OWNER ? EVERYTHING : named().get(user));
    for (const { principal } of book.entries())
      if (principal.user === user && book.holds(principal))
        for (const scope of principal.scopes) all.add(scope);
    return all;
  }

  return {
    of,
    rights({ owner, made_by, changed_by }: MadeBy): ReadonlySet<Scope> | Suspended {
      if (isShutOut(owner)) return "disabled";
      const parts = [
        made_by === undefined ? allOf(owner) : scopesOf(made_by),
        changed_by === undefined || changed_by === null ? EVERYTHING : scopesOf(changed_by),
      ];
      const [first, second] = parts;
      return first && second ? first.intersection(second) : "ended";
    },
  };
}
