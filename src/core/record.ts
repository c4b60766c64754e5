/** A JSON document in a named collection: tokens, auth sessions, shares and what later work adds. */
export interface RecordRow {
  readonly collection: string;
  readonly id: string;
  /** What the record belongs to (a user, a session), for listing; "" for none. */
  readonly owner: string;
  /** JSON text. */
  readonly data: string;
  /** Milliseconds since 1970, after which the store may erase it; null: never. */
  readonly expires_at: number | null;
}

/** A change of one, within an operation. */
export type RecordChange =
  /** `over`: what is there now has to have this data, or, with null, nothing may be there; the operation fails "changed". */
  | { readonly kind: "record.put"; readonly record: RecordRow; readonly over?: string | null }
  /** Where there is one already it stays as it is. Nobody drops it by `at` before this operation is over. */
  | { readonly kind: "record.keep"; readonly record: RecordRow }
  /**
   * `over`: as for record.put. `at`: only while the head of the session is this, or the session is gone. Else the
   * operation fails "changed".
   */
  | {
      readonly kind: "record.drop";
      readonly collection: string;
      readonly id: string;
      readonly over?: string;
      readonly at?: { readonly session: string; readonly head: number };
    };

/** Challenges that devices used over REST, tickets, and who has to wait after wrong credentials. */
export const CHALLENGES = "challenge";
export const TICKETS = "ticket";
export const THROTTLED = "throttle";

/** What no node has in memory because another wrote it: of these nobody is told, however many there are. */
export const UNTOLD: ReadonlySet<string> = new Set([CHALLENGES, TICKETS, THROTTLED]);
