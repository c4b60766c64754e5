import type { Client } from "../client/client.ts";
import type { Attachment } from "../protocol/api/attachment.ts";
import type { LocalFile } from "./attach-file.ts";
import { uploadFile } from "./attach-file.ts";

interface Upload {
  readonly name: string;
  readonly bytes: number;
  readonly attachment: Promise<Attachment>;
  readonly dropped: AbortController;
}

/** Files that go with the next message. Each is on its way to the gateway from the moment it was named. */
export class Attached {
  readonly #client: Client;
  readonly #leaving: AbortSignal;
  #uploads: Upload[];

  /** `taken`: what the gateway has already. */
  constructor(client: Client, taken: readonly Attachment[], leaving: AbortSignal) {
    this.#client = client;
    this.#leaving = leaving;
    this.#uploads = taken.map((attachment) => ({
      name: attachment.name,
      bytes: attachment.bytes,
      attachment: Promise.resolve(attachment),
      dropped: new AbortController(),
    }));
  }

  get waiting(): readonly Pick<Upload, "name" | "bytes">[] {
    return this.#uploads;
  }

  /** Resolves once the gateway has it; null: it was dropped meanwhile. @throws ClientError that names the file */
  async add(file: LocalFile): Promise<Attachment | null> {
    const dropped = new AbortController();
    const signal = AbortSignal.any([dropped.signal, this.#leaving]);
    const upload = { ...file, dropped, attachment: uploadFile(this.#client, file, signal) };
    this.#uploads.push(upload);
    try {
      return await upload.attachment;
    } catch (error) {
      this.#uploads = this.#uploads.filter((each) => each !== upload);
      if (signal.aborted) return null;
      throw error;
    }
  }

  /** None of them goes anywhere; how many there were. */
  drop(): number {
    const uploads = this.#uploads;
    this.#uploads = [];
    for (const { dropped } of uploads) dropped.abort();
    return uploads.length;
  }

  /** Hands them to a message: resolves once the gateway has them all. @throws ClientError the first that it did not take */
  take(): Promise<readonly Attachment[]> {
    const uploads = this.#uploads;
    this.#uploads = [];
    return Promise.all(uploads.map(({ attachment }) => attachment));
  }
}
