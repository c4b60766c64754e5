import type { AttachmentChange, AttachmentRow } from "../core/attachment.ts";
import { noAttachment } from "../core/attachment.ts";
import { newId } from "../core/id.ts";
import type { Journal } from "../core/journal.ts";
import type { Limits } from "../core/limits.ts";
import type { Media } from "../core/media.ts";
import { Sniffer } from "../core/media.ts";
import type { Clock } from "../core/ports.ts";
import type { Slots } from "../core/slots.ts";
import { GatewayError } from "../protocol/errors.ts";
import { appendError } from "./append.ts";

interface ReceiptDeps {
  readonly journal: Journal;
  /** Of all files together one piece is being written at a time: what others write is behind that at the most. */
  readonly turns: Slots;
  /** Asked in the tick that writes. @throws GatewayError UNAUTHORIZED */
  readonly requireLive: () => void;
  readonly clock: Clock;
  readonly limits: Limits;
}

/**
 * One file that is being received. A piece is written before more is read, so that neither memory nor the writer holds more
 * than that of it; the last one is written with the file's name, in one operation.
 */
export class Receipt {
  readonly #deps: ReceiptDeps;
  readonly #user: string;
  readonly #upload_id: string;
  readonly #expires_at: number;
  readonly #sniffer = new Sniffer();
  readonly #hash = new Bun.CryptoHasher("sha256");
  #held: Uint8Array[] = [];
  #held_bytes = 0;
  #written = 0;
  bytes = 0;

  constructor(deps: ReceiptDeps, user: string) {
    const now = deps.clock.now();
    this.#deps = deps;
    this.#user = user;
    this.#upload_id = newId("upl", now);
    this.#expires_at = now + deps.limits.upload_ttl_secs * 1_000;
  }

  /** @throws GatewayError TOO_LARGE, INVALID_REQUEST, and what keeps a piece from being written */
  async push(chunk: Uint8Array): Promise<void> {
    const { attachment_bytes, attachment_piece_bytes } = this.#deps.limits;
    this.bytes += chunk.length;
    if (this.bytes > attachment_bytes) throw fileTooLarge(attachment_bytes);
    let left = chunk;
    while (this.#held_bytes + left.length > attachment_piece_bytes) {
      const fits = attachment_piece_bytes - this.#held_bytes;
      this.#hold(left.subarray(0, fits));
      left = left.subarray(fits);
      await this.#write([this.#piece()], false);
    }
    if (left.length > 0) this.#hold(left);
  }

  /** What it is, once all of it is there. @throws GatewayError INVALID_REQUEST */
  media(name: string): Media {
    if (this.#held_bytes > 0) this.#sniffer.push(this.#gather());
    return this.#sniffer.end(name);
  }

  sha256(): string {
    for (const chunk of this.#held) this.#hash.update(chunk);
    return this.#hash.digest("hex");
  }

  /** The file is on disk when it resolves. */
  async done(attachment: AttachmentRow, expires_at: number): Promise<void> {
    const upload_id = this.#upload_id;
    const last = this.#row(this.#gather());
    await this.#write([last, { kind: "upload.done", upload_id, attachment, expires_at }], true);
  }

  /** Gives it up; what is lost of this on the way expires. */
  drop(): void {
    if (this.#written === 0) return;
    const { journal } = this.#deps;
    const rows = [{ kind: "upload.drop", upload_id: this.#upload_id }] as const;
    journal.append({ session: null, run: null, ack: false, events: [], rows, settle: () => undefined });
  }

  #hold(chunk: Uint8Array): void {
    this.#held.push(chunk);
    this.#held_bytes += chunk.length;
  }

  #gather(): Buffer {
    const whole = Buffer.concat(this.#held, this.#held_bytes);
    this.#held = [whole];
    return whole;
  }

  /** What is held, as a piece that was looked at. */
  #piece(): AttachmentChange {
    const piece = this.#gather();
    this.#sniffer.push(piece);
    this.#hash.update(piece);
    const row = this.#row(piece);
    this.#held = [];
    this.#held_bytes = 0;
    return row;
  }

  #row(piece: Buffer): AttachmentChange {
    return {
      kind: "upload.piece",
      upload_id: this.#upload_id,
      user: this.#user,
      n: this.#written++,
      data: piece.toString("base64"),
      expires_at: this.#expires_at,
    };
  }

  #write(rows: readonly AttachmentChange[], ack: boolean): Promise<void> {
    const { journal, turns, requireLive } = this.#deps;
    const written = (): Promise<void> =>
      new Promise((resolve, reject) => {
        requireLive();
        journal.append({
          session: null,
          run: null,
          ack,
          events: [],
          rows,
          settle: (outcome) => {
            if (outcome.ok) return resolve();
            const expired = outcome.reason === "unknown";
            return reject(expired ? noAttachment() : appendError(outcome, null, this.#user, journal.limits));
          },
        });
      });
    return turns.use(written);
  }
}

function fileTooLarge(limit: number): GatewayError {
  return new GatewayError(
    "TOO_LARGE",
    `a file may have ${limit} bytes (limits.attachment_bytes): send a smaller one`,
    {
      details: { kind: "attachment" },
      limit: { what: "attachment_bytes", limit },
    },
  );
}
