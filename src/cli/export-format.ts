import type { ParamsFor } from "../client/methods.ts";
import type { Part } from "../protocol/entities.ts";

/** The first line of an export says that it is one, and of which version: a reader of this one reads what is not newer. */
export const FORMAT = "agentbus-export";
export const FORMAT_VERSION = 1;

type Params = ParamsFor<"session.import">;
export type About = Omit<NonNullable<Params["session"]>, "digest">;
export type GivenMessage = NonNullable<Params["messages"]>[number];

/** A file that comes before the first message which names it. */
export interface IncomingFile {
  readonly attachment_id: string;
  readonly name: string;
  readonly data: Uint8Array;
}

/** What a file of sessions is made of, in its order. */
export type Incoming =
  /** `owner`: null where the file does not say. */
  | { readonly kind: "session"; readonly about: About; readonly owner: string | null }
  | { readonly kind: "file"; readonly file: IncomingFile }
  /** Files are named in its parts by the ids they have in the file. */
  | {
      readonly kind: "message";
      readonly message: Omit<GivenMessage, "parts"> & { readonly parts: readonly Part[] };
    }
  /** Of the session before: nothing that could be brought in. */
  | { readonly kind: "lost"; readonly what: string }
  /** The session before is whole; `deleted`: it was not, when it was written. */
  | { readonly kind: "end"; readonly deleted?: true };
