import type { Client } from "../client/client.ts";

/** What the gateway made of an upload. */
export type Attachment = Awaited<ReturnType<Client["upload"]>>;

/** How pictures one has seen are kept at most; the others are fetched again. */
const PICTURES_KEPT = 100;
const NAME_CHARS = 200;

/** Files of messages, and of those that are about to be. */
export class Files {
  readonly #client: Client;
  readonly #pictures = new Map<string, Promise<string>>();

  constructor(client: Client) {
    this.#client = client;
  }

  /** @throws ClientError the gateway's refusal, as of a file that is too large */
  upload(file: File, signal: AbortSignal): Promise<Attachment> {
    return this.#client.upload(file, { name: file.name.slice(0, NAME_CHARS), signal });
  }

  /** The address of a picture for as long as this page is open. */
  picture(session_id: string, attachment_id: string): Promise<string> {
    const known = this.#pictures.get(attachment_id);
    if (known !== undefined) return known;
    const made = this.read(session_id, attachment_id).then((blob) => URL.createObjectURL(blob));
    this.#pictures.set(attachment_id, made);
    made.catch(() => this.#pictures.delete(attachment_id));
    const [oldest] = this.#pictures;
    if (this.#pictures.size > PICTURES_KEPT && oldest !== undefined) {
      this.#pictures.delete(oldest[0]);
      void oldest[1].then((url) => URL.revokeObjectURL(url));
    }
    return made;
  }

  read(session_id: string, attachment_id: string): Promise<Blob> {
    return this.#client.download(session_id, attachment_id);
  }
}
