import manifest from "../package.json" with { type: "json" };

/**
 * What an executable of a release knows of itself. One without it was built from the sources: it has no commit to name, trusts
 * no release key and has no place to look for newer ones.
 */
export interface Build {
  readonly version: string;
  readonly commit: string;
  /** What its archive is called after, such as linux-x64-musl. */
  readonly target: string;
  /** Ed25519 public keys as PEM, of which one has to have signed what takes its place. */
  readonly keys: readonly string[];
  /** Where releases are; "": it has to be said. */
  readonly base_url: string;
}

// Put in by the compiler: nothing that is said to the running program changes which key it trusts.
declare const AGENTBUS_BUILD: Build | undefined;

export const BUILD: Build | null = typeof AGENTBUS_BUILD === "undefined" ? null : AGENTBUS_BUILD;
export const VERSION = BUILD?.version ?? manifest.version;
