import type { EventFrame } from "../protocol/frames.ts";
import type { GatewayError } from "./error.ts";
import type { Link, LinkEvents } from "./link.ts";
import type { Opening } from "./methods.ts";
import type { RestAccess } from "./rest-access.ts";
import { readStream } from "./sse.ts";

interface Request {
  readonly id: string;
  readonly method: string;
  readonly params: Record<string, unknown>;
}

/** A comment comes every ten seconds. */
const QUIET_MS = 25_000;
/** For the beginning of a stream, and for what can be asked again. */
const PATIENCE_MS = 8_000;
/** A page has six connections to one host, and its streams take some. */
const ASKED_AT_ONCE = 4;

/** A link without a socket: requests over HTTP, and an event stream for every session that is followed. */
export function openRestLink(access: RestAccess, timeout_ms: number, events: LinkEvents): Link {
  return new RestLink(access, timeout_ms, events);
}

class RestLink implements Link {
  readonly #access: RestAccess;
  readonly #events: LinkEvents;
  readonly #streams = new Map<string, SessionStream>();
  readonly #over = new AbortController();
  #state: "opening" | "ready" | "closed" = "opening";

  constructor(access: RestAccess, timeout_ms: number, events: LinkEvents) {
    this.#access = access;
    this.#events = events;
    void this.#open(timeout_ms);
  }

  send(text: string): void {
    const request = JSON.parse(text) as Request;
    void this.#answer(request).catch((error: unknown) => this.#failed(request.id, error));
  }

  close(code: number): void {
    this.#end(code, "", null);
  }

  async #open(timeout_ms: number): Promise<void> {
    const late = `no answer within ${timeout_ms / 1_000} s`;
    const timer = setTimeout(() => this.#end(1006, late, null), timeout_ms);
    try {
      const hello = await this.#access.open(this.#over.signal);
      if (this.#state !== "opening") return;
      this.#state = "ready";
      this.#events.ready(hello);
    } catch (error) {
      if (this.#isRefusal(error)) this.#access.forget();
      this.#broken(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #broken(error: unknown): void {
    if (this.#isRefusal(error)) this.#end(error.retryable ? 1013 : 4000, error.message, error);
    else this.#end(1006, error instanceof Error ? error.message : String(error), null);
  }

  async #answer({ id, method, params }: Request): Promise<void> {
    const session_id = String(params["session_id"]);
    if (method === "session.subscribe") return this.#subscribe(id, session_id, params);
    if (method === "session.unsubscribe") {
      const stream = this.#streams.get(session_id);
      this.#drop(session_id);
      return this.#ok(id, { unsubscribed: stream !== undefined });
    }
    if (method === "heartbeat") await this.#beat();
    const over = this.#over.signal;
    // One line of many may fall silent. What may be sent again is, instead of waiting to be sure.
    const keyed = typeof params["idempotency_key"] === "string";
    const signal = keyed ? AbortSignal.any([over, AbortSignal.timeout(PATIENCE_MS)]) : over;
    return this.#ok(id, await this.#access.call(method, params, signal));
  }

  #ok(id: string, payload: unknown): void {
    if (this.#state === "ready") this.#events.answer({ type: "res", id, ok: true, payload });
  }

  #failed(id: string, error: unknown): void {
    if (this.#state !== "ready") return;
    if (!this.#isRefusal(error)) return this.#broken(error);
    const { code, message, details, retryable, retry_after_ms } = error;
    // The login has ended; where the credential is still good there will be another.
    if (code === "UNAUTHORIZED") return this.#expired();
    const body = { code, status: 0, message, details, retryable };
    this.#events.answer({
      type: "res",
      id,
      ok: false,
      error: { ...body, ...(retry_after_ms !== undefined && { retry_after_ms }) },
    });
  }

  /** Whether it is a word of the gateway. */
  #isRefusal(error: unknown): error is GatewayError {
    return error instanceof this.#access.errors.GatewayError;
  }

  #expired(): void {
    this.#access.forget();
    this.#end(1006, "the login has ended", null);
  }

  async #subscribe(id: string, session_id: string, params: Record<string, unknown>): Promise<void> {
    this.#drop(session_id);
    const stream = new SessionStream(this.#over.signal);
    this.#streams.set(session_id, stream);
    const cut = (): void => {
      if (this.#streams.get(session_id) !== stream || this.#state !== "ready") return;
      this.#drop(session_id);
      if (!stream.opened) return this.#broken("no events came");
      const payload = { session_id: stream.name, reason: "cut" };
      this.#events.event({
        type: "event",
        event: "session.unsubscribed",
        session_id: stream.name,
        ts: 0,
        payload,
      });
    };
    const heard = (frame: EventFrame): void => {
      if (this.#streams.get(session_id) !== stream) return;
      const opening = stream.opened ? null : openingOf(frame);
      if (opening === null) return this.#events.event(frame);
      stream.opened = true;
      stream.name = frame.session_id ?? session_id;
      this.#ok(id, opening);
    };
    const body = await this.#access.events(params, stream.signal).catch((error: unknown) => {
      // Another one took its place meanwhile.
      if (this.#streams.get(session_id) !== stream) return null;
      this.#drop(session_id);
      throw error;
    });
    if (body === null) return;
    void stream.read(body, heard).then(cut, cut);
  }

  /** What a gateway says by itself on a socket: how far the sessions are. A stream that stands still is found out by it. */
  async #beat(): Promise<void> {
    const heads: Record<string, [string, number]> = {};
    const ask = async ([session_id, { name }]: [string, SessionStream]): Promise<void> => {
      const { epoch, head } = await this.#access.call("session.get", { session_id }, this.#over.signal);
      heads[name] = [epoch, head];
    };
    const streams = [...this.#streams];
    while (streams.length > 0) await Promise.all(streams.splice(0, ASKED_AT_ONCE).map(ask));
    if (this.#state !== "ready") return;
    this.#events.event({
      type: "event",
      event: "heartbeat",
      ts: Date.now(),
      payload: { ts: Date.now(), heads },
    });
  }

  #drop(session_id: string): void {
    this.#streams.get(session_id)?.close();
    this.#streams.delete(session_id);
  }

  #end(code: number, reason: string, refusal: GatewayError | null): void {
    if (this.#state === "closed") return;
    const was_ready = this.#state === "ready";
    this.#state = "closed";
    this.#over.abort();
    for (const session_id of this.#streams.keys()) this.#drop(session_id);
    this.#events.closed({ code, reason, refusal, was_ready });
  }
}

/** One event stream, until it ends or falls silent. */
class SessionStream {
  readonly #over = new AbortController();
  readonly signal: AbortSignal;
  /** How frames call the session. */
  name = "";
  /** Its first event has come. */
  opened = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(link: AbortSignal) {
    this.signal = this.#over.signal;
    this.#alive();
    if (link.aborted) this.close();
  }

  async read(body: ReadableStream<Uint8Array>, heard: (frame: EventFrame) => void): Promise<void> {
    await readStream(body, (frame) => (frame === null ? this.#alive() : heard(frame))).finally(() =>
      this.close(),
    );
  }

  #alive(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.close(), this.opened ? QUIET_MS : PATIENCE_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#over.abort();
  }
}

/** What a subscription answers, from the first event of a stream; null: it is another event. */
function openingOf({ event, epoch = "", payload }: EventFrame): Opening | null {
  const [, mode] = /^session\.(resume|snapshot|reset)d?$/.exec(event) ?? [];
  if (mode === undefined) return null;
  const { from, ...more } = payload as unknown as Opening & { from?: number };
  return { ...more, mode: mode as Opening["mode"], epoch, from: from ?? more.head };
}
