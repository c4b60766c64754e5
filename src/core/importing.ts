/** Of a session that is being imported, until it is whole: nobody may be called so, so that it is there for nobody. */
const PREFIX = "~import:";
/** Which sessions came in from a file: whose, and by what it held. Goes with the session. */
export const IMPORTED = "imported";

export function importerOf(user: string): string {
  return `${PREFIX}${user}`;
}

export function isImporter(owner: string): boolean {
  return owner.startsWith(PREFIX);
}
