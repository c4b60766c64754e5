import { refuse, Violation } from "./watcher-fold.ts";
import type { Cursor, Opening, Received } from "./watcher-fold.ts";
import type { LinkEnd, LinkOptions, Sink } from "./watcher-link.ts";
import { watchSilence } from "./watcher-link.ts";

// With the DOM's types loaded, the constructor has lost Bun's options.
type BunSocket = WebSocket & { terminate(): void };
const BunWebSocket = WebSocket as unknown as new (url: string, options: Bun.WebSocketOptions) => BunSocket;

const AGAIN: ReadonlySet<number> = new Set([1001, 1006, 1011, 1012, 1013, 4008, 4029, 4030]);
const UNSUBSCRIBED: ReadonlySet<string> = new Set(["trimmed", "far", "epoch", "limit", "revoked", "deleted"]);

interface Answer {
  readonly type: "res";
  readonly id: string | null;
  readonly ok: boolean;
  readonly payload?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}
interface Signal {
  readonly event: string;
  readonly session_id?: string;
  readonly payload: { readonly [field: string]: unknown };
}

/** Follows a session over one socket until that ends. Rejects with Violation. */
export function watchSocket(
  options: LinkOptions & { readonly greets: boolean },
  sink: Sink,
): Promise<LinkEnd> {
  const link = new SocketLink(options, sink);
  return link.over.finally(() => link.leave());
}

class SocketLink {
  readonly over: Promise<LinkEnd>;
  readonly #options: LinkOptions & { readonly greets: boolean };
  readonly #sink: Sink;
  readonly #socket: BunSocket;
  readonly #silence: { heard(): void; stop(): void };
  readonly #pulse: ReturnType<typeof setInterval>;
  readonly #leave: () => void;
  #end: (end: LinkEnd) => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;
  #requests = 0;
  /** The request whose answer is the opening, and the cursor it was sent with. */
  #asking: { readonly id: string; readonly cursor: Cursor | null } | null = null;
  /** Whether events that come while it asks belong to a subscription that is about to be replaced. */
  #replacing = false;
  /** Heartbeats in a row that named a higher head while the cursor stood where it was. */
  #behind: { readonly seq: number; readonly times: number } = { seq: -1, times: 0 };

  constructor(options: LinkOptions & { readonly greets: boolean }, sink: Sink) {
    this.#options = options;
    this.#sink = sink;
    this.over = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    const { url, token, stall_ms, signal, greets } = options;
    const credential: Record<string, string> = greets ? {} : { authorization: `Bearer ${token}` };
    const headers = { ...credential, ...options.headers };
    this.#socket = new BunWebSocket(`${url.replace(/^http/, "ws")}/ws`, {
      headers,
      ...(options.tls !== undefined && { tls: options.tls }),
    });
    this.#silence = watchSilence(stall_ms, () => this.#end({ then: "again", why: "stalled" }));
    this.#pulse = setInterval(() => this.#request("heartbeat", {}), stall_ms / 4);
    this.#leave = () => this.#end({ then: "stop", why: "left" });
    signal.addEventListener("abort", this.#leave, { once: true });
    this.#listen();
  }

  leave(): void {
    clearInterval(this.#pulse);
    this.#silence.stop();
    this.#options.signal.removeEventListener("abort", this.#leave);
    this.#socket.terminate();
  }

  #listen(): void {
    const socket = this.#socket;
    let opened = false;
    socket.addEventListener("open", () => {
      opened = true;
      this.#silence.heard();
      if (this.#options.greets) this.#request("connect", { auth_token: this.#options.token });
      this.#subscribe();
    });
    socket.addEventListener("message", ({ data }) => {
      this.#silence.heard();
      try {
        this.#take(String(data));
      } catch (error) {
        this.#fail(error);
      }
    });
    // The close event that follows says the same.
    socket.addEventListener("error", () => undefined);
    socket.addEventListener("close", ({ code, reason }) => {
      // Before it is open the code is the runtime's, not the gateway's.
      const again = !opened || AGAIN.has(code);
      this.#end({ then: again ? "again" : "stop", why: `closed ${code} ${reason}`, ...(opened && { code }) });
    });
  }

  #request(method: string, params: Record<string, unknown>): string {
    const id = `${method}:${++this.#requests}`;
    if (this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ type: "req", id, method, params }));
    }
    return id;
  }

  #subscribe(): void {
    const { session_id, catch_up } = this.#options;
    const cursor = this.#sink.cursor();
    // The beginning of a session needs no epoch.
    const after =
      cursor === null ? {} : cursor.epoch === "" ? { after: 0 } : { epoch: cursor.epoch, after: cursor.seq };
    const id = this.#request("session.subscribe", { session_id, catch_up, ...after });
    this.#asking = { id, cursor };
  }

  #take(raw: string): void {
    const frame = JSON.parse(raw) as Answer | (Signal & { readonly type: "event"; readonly seq?: number });
    if (frame.type === "res") return this.#answer(frame);
    if (frame.seq === undefined) return this.#signal(frame);
    if (this.#asking !== null) {
      if (!this.#replacing) refuse(`${frame.event} ${frame.seq} before anything was subscribed to`);
      return undefined;
    }
    this.#sink.event({ raw, frame: frame as unknown as Received["frame"] });
    if (this.#sink.resubscribe()) {
      this.#replacing = true;
      this.#subscribe();
    }
    return undefined;
  }

  #answer(frame: Answer): void {
    if (!frame.ok) {
      // Of no request: why the socket is about to be closed.
      if (frame.id === null) return undefined;
      const { code = "", message = "" } = frame.error ?? {};
      if (code === "UNAVAILABLE") return this.#end({ then: "again", why: message });
      throw new Violation(`${frame.id}: ${code} ${message}`);
    }
    const asking = this.#asking;
    if (frame.id !== asking?.id) return undefined;
    this.#asking = null;
    this.#replacing = false;
    return this.#sink.opened(asking.cursor, frame.payload as Opening);
  }

  #signal({ event, session_id, payload }: Signal): void {
    if (event === "heartbeat") return this.#heartbeat(payload["heads"] as Record<string, [string, number]>);
    if (session_id !== this.#options.session_id || this.#asking !== null) return undefined;
    if (event === "session.synced")
      return this.#sink.caughtUp(String(payload["epoch"]), Number(payload["at"]));
    if (event !== "session.unsubscribed") return undefined;
    const reason = String(payload["reason"]);
    if (!UNSUBSCRIBED.has(reason)) refuse(`session.unsubscribed ${reason}`);
    this.#sink.ended(reason);
    if (reason === "revoked" || reason === "deleted") return this.#end({ then: "stop", why: reason });
    return this.#subscribe();
  }

  #heartbeat(heads: Record<string, [string, number]>): void {
    const [epoch, head] = heads[this.#options.session_id] ?? ["", 0];
    const cursor = this.#sink.cursor();
    if (cursor === null || epoch !== cursor.epoch || head <= cursor.seq) return;
    const times = this.#behind.seq === cursor.seq ? this.#behind.times + 1 : 1;
    this.#behind = { seq: cursor.seq, times };
    if (times >= 2) refuse(`two heartbeats named ${epoch}.${head} and nothing came after ${cursor.seq}`);
  }
}
