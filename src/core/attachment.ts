import type { Attachment } from "../protocol/api/attachment.ts";
import type { Part } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Caller } from "./call.ts";

/** What is known of a file besides its content. */
export interface AttachmentRow {
  readonly attachment_id: string;
  /** As it may be shown, and saved under. */
  readonly name: string;
  /** By the content, whatever the client said. */
  readonly media_type: string;
  /** Of an image, in pixels; null for text. */
  readonly width: number | null;
  readonly height: number | null;
  readonly bytes: number;
  /** Of the content, lowercase hex. */
  readonly sha256: string;
}

/**
 * A change of files. What is received is an upload until it is whole; then it is kept once by its hash, for as long as an
 * upload that has not expired or a message of a session names it. What a user holds counts once, however often.
 */
export type AttachmentChange =
  /** The next piece of what a user uploads: piece 0 makes the upload. Fails "full" past the user's quotas and where the
   *  storage keeps what is left for messages; "unknown" where the upload has expired. */
  | {
      readonly kind: "upload.piece";
      readonly upload_id: string;
      readonly user: string;
      readonly n: number;
      /** base64 */
      readonly data: string;
      readonly expires_at: number;
    }
  /** All pieces are there: messages of the user may name it until it expires. Fails "unknown" like a piece. */
  | {
      readonly kind: "upload.done";
      readonly upload_id: string;
      readonly attachment: AttachmentRow;
      readonly expires_at: number;
    }
  /** It is given up. */
  | { readonly kind: "upload.drop"; readonly upload_id: string }
  /** A message of the session names uploads of a user: they are the session's, and count for its owner. Fails
   *  "attachment" where one is not there (any more), "full" past the owner's quotas. */
  | {
      readonly kind: "attachment.use";
      readonly user: string;
      readonly attachment_ids: readonly string[];
      readonly at: number;
    };

/** A file on its way out. */
export interface OpenFile {
  readonly file: AttachmentRow;
  /**
   * Its content, which has a place from the first piece on until it was read or is let go. Rejects with RATE_LIMITED
   * {kind:"downloads"} where there is none, and where it goes, or may not be read any more, meanwhile.
   */
  readonly content: () => AsyncIterable<Uint8Array>;
}

/** How files come in and go out, whatever carries them. */
export interface Files {
  /**
   * Takes a file in while it is read. `said`: its name, as the client says it.
   * @throws GatewayError what any request is refused with; INVALID_REQUEST {kind:"media_type"}, TOO_LARGE, CONFLICT {kind:"full"},
   * RATE_LIMITED {kind:"uploads"}, and what `content` throws: nothing is kept then
   */
  receive(caller: Caller, said: string, content: AsyncIterable<Uint8Array>): Promise<Attachment>;
  /** A file of a session that the caller may read. @throws GatewayError */
  open(caller: Caller, session_id: string, attachment_id: string): Promise<OpenFile>;
}

/** How a message has it. */
export function partOf(file: AttachmentRow): Part {
  const { attachment_id, name, media_type, bytes, width, height } = file;
  const about = { attachment_id, name, media_type, bytes };
  return width === null || height === null
    ? { type: "file", ...about }
    : { type: "image", ...about, width, height };
}

/** The files a message names, by the JSON of its parts. */
export function attachmentIdsOf(message: { readonly parts?: readonly unknown[] }): string[] {
  return (message.parts ?? []).flatMap((part) => {
    const { attachment_id } = part as { readonly attachment_id?: unknown };
    return typeof attachment_id === "string" ? [attachment_id] : [];
  });
}

/** What is not yours looks exactly like what is not there, or has expired. */
export function noAttachment(): GatewayError {
  return new GatewayError(
    "NOT_FOUND",
    "no such attachment: upload it with POST /api/v1/attachments, then send",
    {
      details: { kind: "attachment" },
    },
  );
}
