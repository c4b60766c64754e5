import type { Client } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import type { ParamsFor, ResultFor } from "../client/methods.ts";
import type { About, GivenMessage, Incoming, IncomingFile } from "./export-format.ts";
import { pause } from "./pause.ts";

const MESSAGES = 100;
/** Of JSON: well below what a request may have. */
const CHARS = 256 * 1024;
const ATTEMPTS = 50;

type Params = ParamsFor<"session.import">;
type Result = ResultFor<"session.import">;
type Told = Extract<Incoming, { kind: "message" }>["message"];

/** A session on its way in: as many messages a request as go well together. */
export class Batch {
  readonly #client: Client;
  readonly #about: About;
  readonly #digest: string;
  readonly #uploaded = new Map<string, string>();
  #last: Result | null = null;
  #waiting: GivenMessage[] = [];
  #chars = 0;

  constructor(client: Client, about: About, digest: string) {
    this.#client = client;
    this.#about = about;
    this.#digest = digest;
  }

  /** Says what it is; one that is there already takes nothing more. */
  begin(): Promise<void> {
    return this.#send({ session: { ...this.#about, digest: this.#digest } });
  }

  async file({ attachment_id, name, data }: IncomingFile): Promise<void> {
    if (this.#last?.status === "skipped") return;
    const made = await patiently(() => this.#client.upload(data, { name }));
    this.#uploaded.set(attachment_id, made.attachment_id);
  }

  async message({ parts, ...said }: Told): Promise<void> {
    if (this.#last?.status === "skipped") return;
    const given = parts.flatMap((part): NonNullable<GivenMessage["parts"]> => {
      if (!("attachment_id" in part)) return [part];
      const attachment_id = this.#uploaded.get(part.attachment_id);
      return attachment_id === undefined ? [] : [{ type: "attachment", attachment_id }];
    });
    // The text is in the parts, where there are any.
    const content = said.role === "tool" || given.length === 0 ? said.content : "";
    const message: GivenMessage = { ...said, content, parts: given };
    const chars = JSON.stringify(message).length;
    if (this.#waiting.length >= MESSAGES || (this.#waiting.length > 0 && this.#chars + chars > CHARS))
      await this.#flush();
    this.#waiting.push(message);
    this.#chars += chars;
  }

  /** It is there now, or was before. */
  async end(): Promise<{ status: Result["status"]; session_id: string }> {
    if (this.#last?.status !== "skipped") await this.#flush(true);
    const { status = "open", session_id = "" } = this.#last ?? {};
    return { status, session_id };
  }

  async #flush(done = false): Promise<void> {
    const messages = this.#waiting;
    this.#waiting = [];
    this.#chars = 0;
    const import_id = this.#last?.import_id;
    await this.#send({ ...(import_id !== undefined && { import_id }), messages, ...(done && { done }) });
  }

  async #send(params: Params): Promise<void> {
    this.#last = await patiently(() => this.#client.request("session.import", params));
  }
}

/** A gateway that wants it slower is given time. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const tooFast = error instanceof ClientError && error.code === "RATE_LIMITED";
      if (!tooFast || attempt >= ATTEMPTS) throw error;
      await pause(error.retry_after_ms ?? 1_000);
    }
  }
}
