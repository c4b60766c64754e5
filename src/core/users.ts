import type { Scope } from "../protocol/schema.ts";
import type { RowChange } from "./operation.ts";
import type { RecordRow } from "./record.ts";

/** What becomes of the sessions of a user who is deleted. */
export type Inheritance =
  | { readonly sessions: "delete" }
  | { readonly sessions: "transfer"; readonly transfer_to: string };

/** A user who is being deleted: they are shut out, and what is theirs goes bit by bit. */
export interface Removal {
  readonly user: string;
  /** Who decided it. */
  readonly by: string;
  readonly inheritance: Inheritance;
}

/** What is known of a user from credentials and from what was decided about them. */
export interface KnownUser {
  readonly user: string;
  readonly disabled: boolean;
  readonly deleting: boolean;
  /** What their credentials allow together. */
  readonly scopes: readonly Scope[];
  /** Credentials that count, by kind. */
  readonly counts: Readonly<Record<string, number>>;
  /** Milliseconds since 1970. */
  readonly last_used_at?: number;
}

/**
 * A decision that is still to be written. Exactly one of `commit` and `undo` is called: `commit` once `rows` are
 * committed, where it takes effect; `undo` when nothing was written.
 */
export interface UserChange {
  readonly rows: readonly RowChange[];
  readonly commit: () => void;
  readonly undo: () => void;
}

/**
 * Who may come in at all. Users exist by what they have: credentials, sessions. One who is shut out has no credential that
 * counts, whatever its kind.
 */
export interface UserBook {
  /** In no order. */
  users(): KnownUser[];
  isShutOut(user: string): boolean;
  /**
   * Before anything is decided about a user: not about the owner, whose token is on this machine, and about nobody who is
   * being deleted. @throws GatewayError CONFLICT {kind:"state"}
   */
  requireOpen(user: string): void;
  disable(user: string, by: string): UserChange;
  enable(user: string): UserChange;
  /** Shuts the user out until nothing is left of them. */
  remove(removal: Removal): UserChange;
  /** Everybody who is. */
  shutOut(): string[];
  /** Another node decided about a user: null is that they are let in. Who decided it, where they are shut out only now; else null. */
  told(user: string, row: RecordRow | null): { readonly by: string; readonly isRemoved: boolean } | null;
  /** Those that were begun and are not over. */
  removals(): Removal[];
  /**
   * The last step of a removal: their credentials go, and the name is free.
   * @throws GatewayError CONFLICT {kind:"busy"} while one of them is being changed
   */
  forget(user: string): UserChange;
}
