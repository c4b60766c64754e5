import type { Scope } from "../protocol/schema.ts";
import type { Principal } from "./principal.ts";

/** By what somebody set something up that goes on without them: the credential, as a token, that their login began with. */
export interface Maker {
  readonly user: string;
  readonly method: string;
  /** Null: none was needed. */
  readonly credential: string | null;
}

/** What was set up by somebody, and may do no more than they may. */
export interface MadeBy {
  readonly owner: string;
  /** Absent: an earlier version did not say. */
  readonly made_by?: Maker;
  /** The last one who changed it in the owner's stead. */
  readonly changed_by?: Maker | null;
}

/** Why nothing of theirs is done. */
export type Suspended = "disabled" | "ended";

export interface Makers {
  of(principal: Principal): Maker;
  /** What they may do now; why nothing, where nothing of theirs counts. */
  rights(made: MadeBy): ReadonlySet<Scope> | Suspended;
}

/** Whose it is from here on, after a change by somebody. */
export function changedBy(made: MadeBy, maker: Maker): Pick<MadeBy, "made_by" | "changed_by"> {
  if (maker.user === made.owner) return { made_by: maker, changed_by: null };
  return { changed_by: maker };
}

/** What a view says. */
export const SUSPENDED: Readonly<Record<Suspended, string>> = {
  disabled: "the user is disabled",
  ended:
    "the credential it was made or last changed with has ended: change it with another one to have it go on",
};
