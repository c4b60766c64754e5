import type { Vouching } from "../core/principal.ts";
import type { Book } from "./book.ts";

/** Whom other nodes let in, by the credentials as they are here. What stands in a configuration is up to the node that has it. */
export function createVouching(book: Book, isShutOut: (user: string) => boolean): Vouching {
  const isIssued = (credential: string): boolean => book.get(credential) !== undefined;
  return {
    bond({ credential }, id) {
      return credential === null || !isIssued(credential) ? "" : (book.bond(credential, id) ?? "");
    },
    admit(shown, id, bond) {
      const { user, credential, scopes } = shown;
      if (isShutOut(user)) return null;
      if (credential === null) return shown;
      if ((bond !== "" || isIssued(credential)) && book.bond(credential, id) !== bond) return null;
      return book.narrowed(credential, scopes) ?? shown;
    },
  };
}
