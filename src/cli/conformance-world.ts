import type { ErrorBody } from "../protocol/errors.ts";
import { CommandError } from "./exit.ts";
import type { Target } from "./target.ts";
import { tlsOptions, trustingSocket } from "./trust.ts";
import type { Trust } from "./trust.ts";

/** Of a frame, as it was read. */
// oxlint-disable-next-line typescript/no-explicit-any -- what somebody else's server sends may be anything
export type Json = any;

const PATIENCE_MS = 30_000;

export interface Frame {
  /** As it came, byte for byte. */
  readonly text: string;
  readonly json: Json;
}

/** A socket that keeps every frame, and judges none. */
export class Peer {
  readonly frames: Frame[] = [];
  readonly #socket: WebSocket & { terminate?(): void };
  readonly #checks = new Set<() => void>();
  readonly #opened = Promise.withResolvers<void>();
  closed: { readonly code: number; readonly reason: string } | null = null;
  #asked = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("open", () => this.#opened.resolve());
    socket.addEventListener("message", ({ data }) => {
      const text = String(data);
      this.frames.push({ text, json: parse(text) });
      for (const check of this.#checks) check();
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
      this.#opened.reject(new CommandError(`no socket at ${socket.url} (${code} ${reason})`));
      for (const check of this.#checks) check();
    });
    socket.addEventListener("error", () => undefined);
    this.#opened.promise.catch(() => undefined);
  }

  /** @throws CommandError */
  opened(): Promise<void> {
    return within(this.#opened.promise, "a socket that opens");
  }
  send(text: string): void {
    this.#socket.send(text);
  }
  cut(): void {
    if (this.#socket.terminate === undefined) this.#socket.close();
    else this.#socket.terminate();
  }
  close(): void {
    this.#socket.close(1000);
  }

  /** Sends a request; the frame that answers it. @throws CommandError where none comes */
  async ask(method: string, params: object = {}, more: object = {}): Promise<Frame> {
    const id = `c${++this.#asked}`;
    this.send(JSON.stringify({ type: "req", id, method, params, ...more }));
    return this.until(`an answer to ${method}`, ({ json }) => json?.type === "res" && json.id === id);
  }

  /** The payload. @throws CommandError where it is refused */
  async request(method: string, params: object = {}): Promise<Json> {
    const { json } = await this.ask(method, params);
    if (json.ok === true) return json.payload;
    throw new CommandError(`${method} was refused: ${JSON.stringify(json.error)}`);
  }

  /** The error it is refused with. @throws CommandError where it is not */
  async refusal(method: string, params: object): Promise<ErrorBody> {
    const { json } = await this.ask(method, params);
    if (json.ok === false && typeof json.error?.code === "string") return json.error as ErrorBody;
    throw new CommandError(`${method} was not refused: ${JSON.stringify(json)}`);
  }

  /** The first frame from `from` on that passes. @throws CommandError when none comes in time */
  async until(what: string, passes: (frame: Frame) => boolean, from = 0): Promise<Frame> {
    let next = from;
    let found: Frame | undefined;
    await this.waitFor(what, () => {
      for (; found === undefined && next < this.frames.length; next++) {
        const frame = this.frames[next];
        if (frame !== undefined && passes(frame)) found = frame;
      }
      return found !== undefined;
    });
    return found as Frame;
  }

  /** @throws CommandError when it does not hold in time, or the socket is closed before */
  waitFor(what: string, holds: () => boolean, ms = PATIENCE_MS): Promise<void> {
    const work = new Promise<void>((resolve, reject) => {
      const check = (): void => {
        const { closed } = this;
        if (holds()) resolve();
        else if (closed !== null)
          reject(new CommandError(`${what}: the socket was closed with ${closed.code} ${closed.reason}`));
        else return;
        this.#checks.delete(check);
      };
      this.#checks.add(check);
      check();
    });
    return within(work, what, ms);
  }

  /** Durable events of a session, in the order they came. */
  events(session_id: string): Frame[] {
    return this.frames.filter(
      ({ json }) => json?.type === "event" && json.session_id === session_id && json.seq !== undefined,
    );
  }
}

/** An event of a stream. */
export interface StreamEvent {
  readonly id: string | null;
  readonly event: string | null;
  readonly data: string;
}

type Asked = RequestInit & { readonly token?: string | null; readonly patience_ms?: number };

/** What the checks are held against, and what they know of it. */
export class World {
  readonly url: string;
  /** Sessions that were made and are to be deleted. */
  readonly sessions = new Set<string>();
  /** What `connect` answered on the first socket. */
  hello: Json = null;
  /** What the checks of the log found. */
  log: { readonly session_id: string; readonly run_id: string; readonly frames: readonly Frame[] } | null =
    null;
  readonly #target: Target;
  readonly #trust: Trust;
  readonly #peers: Peer[] = [];
  readonly #aborts = new Set<AbortController>();
  readonly #prefix = `conformance-${crypto.randomUUID().slice(0, 8)}`;
  #peer: Peer | null = null;
  #made = 0;

  constructor(target: Target, trust: Trust) {
    this.#target = target;
    this.#trust = trust;
    this.url = target.url.replace(/\/+$/, "");
  }

  /** The socket that most checks use. @throws CommandError where there is none */
  get peer(): Peer {
    if (this.#peer === null || this.#peer.closed !== null) throw new CommandError("there is no connection");
    return this.#peer;
  }
  set peer(peer: Peer) {
    this.#peer = peer;
  }
  get token(): string {
    return this.#target.token ?? "";
  }

  /** A socket that has said nothing. */
  async open(): Promise<Peer> {
    const Socket = trustingSocket(this.#trust);
    const peer = new Peer(new Socket(`${this.url.replace(/^http/, "ws")}/ws`));
    this.#peers.push(peer);
    await peer.opened();
    return peer;
  }

  /** A socket that has said who it is. */
  async connect(more: object = {}): Promise<Peer> {
    const peer = await this.open();
    await peer.request("connect", { ...this.credential, client_name: "agentbus demo", ...more });
    return peer;
  }
  get credential(): { readonly auth_token?: string } {
    return this.token === "" ? {} : { auth_token: this.token };
  }

  /** A new session. */
  async session(): Promise<string> {
    const session_id = `${this.#prefix}-${++this.#made}`;
    this.sessions.add(session_id);
    await this.peer.request("session.create", { session_id, title: "a conformance check" });
    return session_id;
  }

  /** One HTTP request. `token: null`: none; `patience_ms`: how long its answer may take to begin. */
  async fetch(
    path: string,
    { token = this.token, patience_ms = PATIENCE_MS, ...init }: Asked = {},
  ): Promise<Response> {
    const abort = new AbortController();
    this.#aborts.add(abort);
    const headers = new Headers(init.headers);
    if (token !== null && token !== "") headers.set("authorization", `Bearer ${token}`);
    if (init.body !== undefined) headers.set("content-type", "application/json");
    const tls = tlsOptions(this.#trust, () => undefined);
    const request = fetch(this.url + path, { ...init, headers, signal: abort.signal, tls } as RequestInit);
    return within(request, `an answer to ${path.split("?")[0] ?? path}`, patience_ms);
  }

  /** What follows a check: nothing of it goes on. */
  next(): void {
    for (const abort of this.#aborts) abort.abort();
    this.#aborts.clear();
    for (const peer of this.#peers.splice(0)) if (peer !== this.#peer) peer.close();
  }
  close(): void {
    this.next();
    this.#peer?.close();
  }
}

/** Reads a stream; ends with it. @throws CommandError where nothing more comes in `ms` */
export async function* readEvents(response: Response, ms = PATIENCE_MS): AsyncGenerator<StreamEvent> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await within(reader.read(), "the next bytes of the event stream", ms);
    if (done) return;
    const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const lines = block.split("\n");
      const field = (name: string): string | null =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? null;
      const data = field("data");
      if (data !== null) yield { id: field("id"), event: field("event"), data };
    }
  }
}

function parse(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    // Whatever it is, it is no frame, and no check will find one in it.
    return null;
  }
}

async function within<T>(work: Promise<T>, what: string, ms = PATIENCE_MS): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new CommandError(`waited ${ms / 1_000} s for ${what}`)), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
