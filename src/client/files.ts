import type { Attachment } from "../protocol/api/attachment.ts";
import type { ClientError } from "./error.ts";
import type { Hello } from "./methods.ts";
import type { RestAccess } from "./rest-access.ts";

export interface UploadOptions {
  /** Default: that of a File, else none. */
  readonly name?: string;
  readonly signal?: AbortSignal;
}

export type FileContent = Blob | ArrayBuffer | Uint8Array | string;

export interface FilesDeps {
  readonly hello: () => Hello | null;
  /** A login for HTTP, of whoever is connected. */
  readonly logIn: () => Promise<{ readonly session_token: string }>;
}

/** Who is let in without showing anything has no login. */
const WITHOUT_LOGIN: ReadonlySet<string> = new Set(["none", "tailscale"]);
const NEVER = new AbortController().signal;
/** How often a file is asked for while as many as may be are on their way. */
const ATTEMPTS = 30;

/** Files go over HTTP, beside whatever link there is. */
export class Files {
  readonly #rest: RestAccess;
  readonly #deps: FilesDeps;
  /** A login that is being made: files that go at the same time share it. */
  #letting_in: Promise<void> | null = null;
  #logins = 0;

  constructor(rest: RestAccess, deps: FilesDeps) {
    this.#rest = rest;
    this.#deps = deps;
  }

  async upload(content: FileContent, { name, signal = NEVER }: UploadOptions = {}): Promise<Attachment> {
    const called = name ?? (content as { name?: unknown }).name;
    const query = typeof called === "string" ? `?${new URLSearchParams({ name: called })}` : "";
    const headers = { "content-type": "application/octet-stream" };
    const answer = await this.#fetch("POST", `/api/v1/attachments${query}`, {
      headers,
      body: content as Blob,
      signal,
    });
    return (await answer.json()) as Attachment;
  }

  async download(session_id: string, attachment_id: string, signal: AbortSignal = NEVER): Promise<Blob> {
    const names = [session_id, attachment_id].map(encodeURIComponent);
    const path = `/api/v1/sessions/${names.join("/attachments/")}`;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#whole(await this.#fetch("GET", path, { signal }), signal);
      } catch (error) {
        const { details, retry_after_ms } = error as Partial<ClientError>;
        if (details?.["kind"] !== "downloads" || attempt === ATTEMPTS) throw error;
        // Whoever stops meanwhile is told so by the next attempt.
        await new Promise((goOn) => setTimeout(goOn, retry_after_ms));
      }
    }
  }

  /** What goes, or may not be read any more, while it is sent ends with the connection. */
  async #whole(answer: Response, signal: AbortSignal): Promise<Blob> {
    const { AbortedError, ConnectionError } = this.#rest.errors;
    try {
      return await answer.blob();
    } catch {
      if (signal.aborted) throw new AbortedError();
      throw new ConnectionError("CLOSED", "the connection ended before the file did: ask for it again");
    }
  }

  /** A login that has ended is made anew, once. */
  async #fetch(...request: Parameters<RestAccess["fetch"]>): Promise<Response> {
    const rest = this.#rest;
    await this.#letIn();
    const used = this.#logins;
    try {
      return await rest.fetch(...request);
    } catch (error) {
      if ((error as Partial<ClientError>).code !== "UNAUTHORIZED") throw error;
      if (used === this.#logins) rest.forget();
      await this.#letIn();
      return rest.fetch(...request);
    }
  }

  async #letIn(): Promise<void> {
    if (this.#rest.hasLogin || WITHOUT_LOGIN.has(this.#deps.hello()?.auth_info.method ?? "")) return;
    this.#letting_in ??= this.#logIn().finally(() => (this.#letting_in = null));
    await this.#letting_in;
  }

  async #logIn(): Promise<void> {
    const { session_token } = await this.#deps.logIn();
    this.#rest.adopt(session_token);
    this.#logins++;
  }
}
