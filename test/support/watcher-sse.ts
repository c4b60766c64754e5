import { refuse, Violation } from "./watcher-fold.ts";
import type { Opening, Received } from "./watcher-fold.ts";
import type { LinkEnd, LinkOptions, Sink } from "./watcher-link.ts";
import { watchSilence } from "./watcher-link.ts";

const RETRY: ReadonlySet<number> = new Set([429, 502, 503]);

/** Follows a session over one event stream until that ends. Rejects with Violation. */
export async function watchStream(options: LinkOptions, sink: Sink): Promise<LinkEnd> {
  const abort = new AbortController();
  let stalled = false;
  const silence = watchSilence(options.stall_ms, () => {
    stalled = true;
    abort.abort();
  });
  const leave = (): void => abort.abort();
  options.signal.addEventListener("abort", leave, { once: true });
  try {
    return await read(options, sink, abort.signal, () => silence.heard());
  } catch (error) {
    if (error instanceof Violation) throw error;
    if (options.signal.aborted) return { then: "stop", why: "left" };
    // Whatever else a fetch throws, it is the connection that failed.
    return { then: "again", why: stalled ? "stalled" : String(error) };
  } finally {
    silence.stop();
    options.signal.removeEventListener("abort", leave);
    abort.abort();
  }
}

async function read(
  options: LinkOptions,
  sink: Sink,
  signal: AbortSignal,
  heard: () => void,
): Promise<LinkEnd> {
  const { url, token, session_id, catch_up } = options;
  const cursor = sink.cursor();
  const headers: Record<string, string> = {
    authorization: `Bearer ${token}`,
    accept: "text/event-stream",
    ...options.headers,
  };
  if (cursor !== null && cursor.epoch !== "") headers["last-event-id"] = `${cursor.epoch}.${cursor.seq}`;
  const address = `${url}/api/v1/sessions/${encodeURIComponent(session_id)}/events?catch_up=${catch_up}`;
  const response = await fetch(address, {
    headers,
    signal,
    keepalive: false,
    ...(options.tls !== undefined && { tls: options.tls }),
  });
  heard();
  if (response.status !== 200) {
    const why = `answered ${response.status} ${await response.text()}`;
    if (RETRY.has(response.status)) return { then: "again", why };
    throw new Violation(why);
  }
  const stream = new StreamFold(session_id, sink);
  for await (const event of parse(response.body, heard)) {
    const ended = stream.take(event);
    if (ended !== null) return ended;
  }
  return { then: "again", why: "the stream ended", code: 200 };
}

/** One event of a stream: its fields, as they came. */
interface StreamEvent {
  readonly id: string | null;
  readonly event: string;
  readonly data: string;
}

class StreamFold {
  readonly #session_id: string;
  readonly #sink: Sink;
  readonly #cursor;
  #opened = false;

  constructor(session_id: string, sink: Sink) {
    this.#session_id = session_id;
    this.#sink = sink;
    this.#cursor = sink.cursor();
  }

  /** Not null: the stream is to be left. @throws Violation */
  take({ id, event, data }: StreamEvent): LinkEnd | null {
    const frame = JSON.parse(data) as Received["frame"] & {
      readonly payload: { readonly [field: string]: unknown };
    };
    if (frame.event !== event) refuse(`event: ${event} with data of ${frame.event}`);
    if (frame.type !== "event") refuse(`data of type ${frame.type}`);
    if (event === "session.resumed" || event === "session.snapshot" || event === "session.reset") {
      this.#open(id, frame);
      return null;
    }
    if (!this.#opened) refuse(`${event} before the opening`);
    if (frame.seq !== undefined) {
      if (id !== `${frame.epoch}.${frame.seq}`) refuse(`id ${id} on ${frame.epoch}.${frame.seq}`);
      this.#sink.event({ raw: data, frame });
      return this.#sink.resubscribe() ? { then: "again", why: "left to come again" } : null;
    }
    if (id !== null) refuse(`id ${id} on ${event}, which has no seq`);
    return this.#signal(event, frame);
  }

  #signal(
    event: string,
    { session_id, payload }: { session_id: string; payload: { readonly [field: string]: unknown } },
  ) {
    if (session_id !== this.#session_id) return null;
    if (event === "session.synced") this.#sink.caughtUp(String(payload["epoch"]), Number(payload["at"]));
    if (event !== "session.unsubscribed") return null;
    const reason = String(payload["reason"]);
    this.#sink.ended(reason);
    const stop = reason === "revoked" || reason === "deleted";
    return { then: stop ? "stop" : "again", why: reason } as const;
  }

  #open(id: string | null, frame: Received["frame"]): void {
    if (this.#opened) refuse(`${frame.event} in the middle of a stream`);
    if (frame.session_id !== this.#session_id) refuse(`${frame.event} of session ${frame.session_id}`);
    this.#opened = true;
    const mode = frame.event === "session.resumed" ? "resume" : frame.event.slice("session.".length);
    const payload = frame.payload as Omit<Opening, "mode" | "epoch" | "from"> & {
      from?: number;
      head: number;
    };
    const from = payload.from ?? payload.head;
    // No id is ever sent before the data it covers.
    if (id !== `${frame.epoch}.${from}`) refuse(`id ${id} on an opening at ${frame.epoch}.${from}`);
    this.#sink.opened(this.#cursor, { ...payload, mode: mode as Opening["mode"], epoch: frame.epoch, from });
  }
}

/** Reads text/event-stream, strictly: every line is one this gateway sends. @throws Violation */
async function* parse(
  body: ReadableStream<Uint8Array> | null,
  heard: () => void,
): AsyncGenerator<StreamEvent> {
  if (body === null) return;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  let fields: { id: string | null; event: string | null; data: string | null } = {
    id: null,
    event: null,
    data: null,
  };
  for await (const bytes of body) {
    heard();
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith(":") || line.startsWith("retry: ")) continue;
      if (line !== "") {
        field(fields, line);
        continue;
      }
      const { id, event, data } = fields;
      fields = { id: null, event: null, data: null };
      if (event === null && data === null && id === null) continue;
      if (event === null || data === null)
        return refuse(`an event without ${event === null ? "name" : "data"}`);
      yield { id, event, data };
    }
  }
}

function field(fields: { id: string | null; event: string | null; data: string | null }, line: string): void {
  const colon = line.indexOf(": ");
  const name = line.slice(0, colon);
  if (name !== "id" && name !== "event" && name !== "data")
    return refuse(`a line ${JSON.stringify(line.slice(0, 80))}`);
  if (fields[name] !== null) return refuse(`${name} twice in one event`);
  fields[name] = line.slice(colon + 2);
  return undefined;
}
