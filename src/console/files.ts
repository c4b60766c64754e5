import type { Client } from "../client/client.ts";
import { ClientError, toClientError } from "../client/error.ts";
import { keptLogin } from "./kept.ts";

/** What the gateway made of an upload. */
export interface Attachment {
  readonly attachment_id: string;
  readonly type: "image" | "file";
  readonly name: string;
  readonly media_type: string;
  readonly bytes: number;
}

/** How pictures one has seen are kept at most; the others are fetched again. */
const PICTURES_KEPT = 100;

/** Files go beside the socket, over HTTP, with a login of their own where this browser has none to show. */
export class Files {
  readonly #client: Client;
  readonly #needs_login: boolean;
  #login: Promise<string> | null = null;
  readonly #pictures = new Map<string, Promise<string>>();

  /** `method`: how this browser came in. */
  constructor(client: Client, method: string) {
    this.#client = client;
    this.#needs_login = method !== "none" && method !== "tailscale";
  }

  /** @throws ClientError the gateway's refusal, as of a file that is too large */
  async upload(file: File, signal: AbortSignal): Promise<Attachment> {
    const query = new URLSearchParams({ name: file.name.slice(0, 200) });
    const answer = await this.#fetch(`/api/v1/attachments?${query}`, {
      method: "POST",
      body: file,
      headers: { "content-type": "application/octet-stream" },
      signal,
    });
    return (await answer.json()) as Attachment;
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

  async read(session_id: string, attachment_id: string): Promise<Blob> {
    const path = `/api/v1/sessions/${encodeURIComponent(session_id)}/attachments/${encodeURIComponent(attachment_id)}`;
    const answer = await this.#fetch(path, {});
    return answer.blob();
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const token = this.#needs_login ? await this.#token() : null;
    const headers = new Headers(init.headers);
    if (token !== null) headers.set("authorization", `Bearer ${token}`);
    const answer = await fetch(path, { ...init, headers });
    if (answer.ok) return answer;
    // A login that has ended is not tried again.
    if (answer.status === 401) this.#login = null;
    const said = (await answer.json().catch(() => null)) as {
      error?: Parameters<typeof toClientError>[0];
    } | null;
    if (said?.error !== undefined) throw toClientError(said.error);
    throw new ClientError("UNREACHABLE", `the gateway answered with ${answer.status}`, { retryable: true });
  }

  /** A device has a key and nothing to show over HTTP: it gets a login, which is kept nowhere and ends by itself. */
  #token(): Promise<string> {
    const login = keptLogin();
    if (login?.by === "session") return Promise.resolve(login.session_token);
    this.#login ??= this.#client
      .request("auth_session.create", {})
      .then(({ session_token }) => session_token);
    this.#login.catch(() => (this.#login = null));
    return this.#login;
  }
}
