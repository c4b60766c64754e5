/** One event of a stream, as it was read. */
export interface ServerEvent {
  /** The id line of this event; null where it has none. */
  readonly id: string | null;
  /** The event line; "message" where it has none, as in a browser. */
  readonly event: string;
  readonly data: string;
  /** The block of lines, without the empty one that ends it. */
  readonly raw: string;
}

export interface OpenOptions {
  readonly headers?: Record<string, string>;
  readonly lastEventId?: string;
  readonly method?: "GET" | "POST";
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly tls?: Bun.TLSOptions;
}

export interface EventReader extends AsyncIterable<ServerEvent> {
  readonly status: number;
  readonly headers: Headers;
  /** Blocks without data, such as comments and the retry line, as they came. */
  readonly silent: string[];
  /** The next event that passes; those before it are skipped. Rejects when the stream ends first. */
  next(passes?: (event: ServerEvent) => boolean): Promise<ServerEvent>;
  /** Every event up to the end of the stream. */
  rest(): Promise<ServerEvent[]>;
  /** The body of an answer that is no stream. */
  json(): Promise<unknown>;
  close(): void;
}

/** Opens an event stream with fetch; resolves with the headers, whatever the status. */
export async function openEvents(url: string, options: OpenOptions = {}): Promise<EventReader> {
  const abort = new AbortController();
  const headers: Record<string, string> = { accept: "text/event-stream", ...options.headers };
  if (options.lastEventId !== undefined) headers["last-event-id"] = options.lastEventId;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(url, {
    method: options.method ?? "GET",
    headers,
    ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
    signal: abort.signal,
    ...(options.tls !== undefined && { tls: options.tls }),
  });
  const silent: string[] = [];
  const events = readEvents(response, silent);
  return {
    status: response.status,
    headers: response.headers,
    silent,
    async next(passes = () => true) {
      for (;;) {
        const { value, done } = await events.next();
        if (done === true) throw new Error("the stream ended before the event came");
        if (passes(value)) return value;
      }
    },
    async rest() {
      const all: ServerEvent[] = [];
      for await (const event of events) all.push(event);
      return all;
    },
    json: () => response.json(),
    close: () => abort.abort(),
    [Symbol.asyncIterator]: () => events,
  };
}

async function* readEvents(response: Response, silent: string[]): AsyncGenerator<ServerEvent, void> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of response.body) {
    text += decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
      const event = parseBlock(text.slice(0, end));
      text = text.slice(end + 2);
      if (typeof event === "string") silent.push(event);
      else yield event;
    }
  }
}

function parseBlock(raw: string): ServerEvent | string {
  const data: string[] = [];
  let id: string | null = null;
  let event = "message";
  for (const line of raw.split("\n")) {
    const colon = line.indexOf(":");
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") data.push(value);
    if (name === "id") id = value;
    if (name === "event") event = value;
  }
  return data.length === 0 ? raw : { id, event, data: data.join("\n"), raw };
}
