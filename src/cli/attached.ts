import type { Client } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import type { Attachment } from "../protocol/api/attachment.ts";
import type { LocalFile } from "./attach-file.ts";
import { uploadFile } from "./attach-file.ts";

/** What is told of files whose message was refused. */
export const KEPT = "the files wait for the next message (/attach none: without)";

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
    this.#uploads = taken.map(uploadOf);
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

  /** Hands them to a message: resolves once the gateway has them all. @throws ClientError the first that it did not take: the others wait on */
  async take(): Promise<readonly Attachment[]> {
    const uploads = this.#uploads;
    this.#uploads = [];
    const taken = await Promise.allSettled(uploads.map(({ attachment }) => attachment));
    const refused = taken.find(({ status }) => status === "rejected");
    if (refused?.status === "rejected") {
      const left = uploads.filter((_, index) => taken[index]?.status === "fulfilled");
      this.#uploads = [...left, ...this.#uploads];
      throw refused.reason;
    }
    return taken.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
  }

  /** Those of a message that was refused wait for the next one; false: there are none, or it is they that are gone. */
  putBack(taken: readonly Attachment[], why: unknown): boolean {
    if (taken.length === 0 || hasExpired(why) || this.#leaving.aborted) return false;
    this.#uploads = [...taken.map(uploadOf), ...this.#uploads];
    return true;
  }
}

/** Whether a file waited so long for its message that the gateway has erased it. */
export function hasExpired(error: unknown): boolean {
  return error instanceof ClientError && error.code === "NOT_FOUND" && error.details["kind"] === "attachment";
}

function uploadOf(attachment: Attachment): Upload {
  const { name, bytes } = attachment;
  return { name, bytes, attachment: Promise.resolve(attachment), dropped: new AbortController() };
}
