import type { Attachment } from "../protocol/api/attachment.ts";
import type { Hello } from "./methods.ts";
import type { RestAccess } from "./rest-access.ts";

export interface UploadOptions {
  /** Default: that of a File, else none. */
  readonly name?: string;
  readonly signal?: AbortSignal;
}

export type FileContent = Blob | ArrayBuffer | Uint8Array | string;

interface FilesDeps {
  readonly rest: RestAccess;
  readonly hello: () => Hello | null;
  /** A login for HTTP, of whoever is connected. */
  readonly logIn: () => Promise<{ readonly session_token: string }>;
}

/** Who is let in without showing anything has no login. */
const WITHOUT_LOGIN: ReadonlySet<string> = new Set(["none", "tailscale"]);
const NEVER = new AbortController().signal;

/** Files go over HTTP, beside whatever link there is. */
export class Files {
  readonly #deps: FilesDeps;

  constructor(deps: FilesDeps) {
    this.#deps = deps;
  }

  async upload(content: FileContent, { name, signal = NEVER }: UploadOptions = {}): Promise<Attachment> {
    await this.#letIn();
    const called = name ?? (content as { name?: unknown }).name;
    const query = typeof called === "string" ? `?${new URLSearchParams({ name: called })}` : "";
    const headers = { "content-type": "application/octet-stream" };
    const answer = await this.#deps.rest.fetch("POST", `/api/v1/attachments${query}`, {
      headers,
      body: content as Blob,
      signal,
    });
    return (await answer.json()) as Attachment;
  }

  async download(session_id: string, attachment_id: string, signal: AbortSignal = NEVER): Promise<Blob> {
    await this.#letIn();
    const names = [session_id, attachment_id].map(encodeURIComponent);
    const path = `/api/v1/sessions/${names.join("/attachments/")}`;
    return (await this.#deps.rest.fetch("GET", path, { signal })).blob();
  }

  async #letIn(): Promise<void> {
    const { rest, hello, logIn } = this.#deps;
    if (rest.hasLogin || WITHOUT_LOGIN.has(hello()?.auth_info.method ?? "")) return;
    rest.adopt((await logIn()).session_token);
  }
}
