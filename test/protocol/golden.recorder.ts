import type { RunningGateway } from "../support/gateway-process.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import type { ReceivedFrame, TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import { createNormaliser } from "./golden.normal.ts";

/** Signals that come when they come: an exchange has them only where it asks for them. */
const UNASKED: ReadonlySet<string> = new Set(["session.changed", "presence.updated", "heartbeat"]);

// oxlint-disable-next-line typescript/no-explicit-any -- a payload, which the exchange knows
export type Payload = any;

export interface RecordedSocket {
  /** Sends a request and takes everything up to its answer; the payload, or the error of a refusal. */
  ask(id: string, method: string, params?: Record<string, unknown>): Promise<Payload>;
  /** Sends a frame, or text as it is. */
  send(frame: unknown): void;
  /** Takes everything up to the next event of that type (and, for deltas, with that text). */
  until(event: string, text?: string): Promise<Payload>;
  /** Takes everything up to the answer to a request that was sent. */
  answer(id: string | null): Promise<Payload>;
  /** Takes the next event of that type (with that text in it) and leaves out what comes before it. */
  only(event: string, text?: string): Promise<Payload>;
  /** The network goes, without a word to anybody. */
  lose(): Promise<void>;
  /** Waits until the gateway has closed it, taking what was left. */
  closed(): Promise<void>;
}

/** What a client and the gateway say to one another, line by line. */
export class Recorder {
  readonly gateway: RunningGateway;
  readonly lines: string[] = [];
  readonly #normal: (text: string) => string;

  constructor(gateway: RunningGateway) {
    this.gateway = gateway;
    this.#normal = createNormaliser(gateway.token);
  }

  note(text: string): void {
    this.#line({ note: text });
  }

  async socket(headers: Record<string, string> = {}): Promise<RecordedSocket> {
    const proxy = startCutProxy({ target: () => this.gateway.address });
    const socket = await openSocket(`ws://${proxy.address}/ws`, {
      headers: { ...headers, host: this.gateway.address },
    });
    this.#line({ open: "/ws", ...(Object.keys(headers).length > 0 && { headers }) });
    let taken = 0;
    const take = (frame: ReceivedFrame): Payload => {
      const upto = socket.frames.indexOf(frame);
      for (const each of socket.frames.slice(taken, upto + 1)) {
        if (each === frame || !UNASKED.has(each.json.event)) this.#raw("gateway", each.raw);
      }
      taken = upto + 1;
      return frame.json.type === "res" ? (frame.json.payload ?? frame.json.error) : frame.json;
    };
    const recorded: RecordedSocket = {
      send: (frame) => {
        if (typeof frame === "string") this.#line({ client_text: frame });
        else this.#raw("client", JSON.stringify(frame));
        socket.send(frame);
      },
      ask: (id, method, params) => {
        recorded.send({ type: "req", id, method, ...(params !== undefined && { params }) });
        return recorded.answer(id);
      },
      answer: async (id) =>
        take(await nextAfter(socket, taken, ({ json }) => json.type === "res" && json.id === id)),
      until: async (event, text) =>
        take(
          await nextAfter(
            socket,
            taken,
            ({ json }) => json.event === event && (text === undefined || json.payload.text === text),
          ),
        ),
      only: async (event, text = "") => {
        const passes = ({ json, raw }: ReceivedFrame): boolean => json.event === event && raw.includes(text);
        const frame = await nextAfter(socket, taken, passes);
        taken = socket.frames.indexOf(frame);
        return take(frame);
      },
      lose: async () => {
        proxy.stop();
        const { code } = await socket.closed;
        this.#line({ lost: code });
      },
      closed: async () => {
        const { code, reason } = await socket.closed;
        const last = socket.frames.findLast(({ json }) => !UNASKED.has(json.event));
        if (last !== undefined && socket.frames.indexOf(last) >= taken) take(last);
        this.#line({ closed: code, reason });
        proxy.stop();
      },
    };
    return recorded;
  }

  /** One HTTP request and its answer. */
  async http(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Payload> {
    const response = await this.#fetch(method, path, body, headers);
    const text = await response.text();
    const head = JSON.stringify(headOf(response)).slice(0, -1);
    this.#raw("response", `${head}${text === "" ? "" : `,"body":${text}`}}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** An event stream: each block is taken when it is asked for. */
  async stream(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await this.#fetch(method, path, body, { accept: "text/event-stream", ...headers });
    this.#line({ response: headOf(response) });
    const blocks = blocksOf(response);
    const next = async (): Promise<string | null> => {
      for (;;) {
        const { value, done } = await blocks.next();
        if (done === true) return null;
        const event = /^event: (.*)$/m.exec(value)?.[1] ?? "";
        if (value === ":" || UNASKED.has(event)) continue;
        // Before it is JSON in JSON: its quotes are not escaped yet.
        this.lines.push(JSON.stringify({ stream: this.#normal(`${value}\n\n`) }));
        return value;
      }
    };
    return {
      /** Takes blocks up to and with the one that has this text in it. */
      until: async (text: string): Promise<string> => {
        for (;;) {
          const block = await next();
          if (block === null) throw new Error(`the stream ended before ${text}`);
          if (block.includes(text)) return block;
        }
      },
      /** Takes what is left, to the end of the stream. */
      rest: async (): Promise<void> => {
        while ((await next()) !== null);
        this.#line({ stream_end: true });
      },
      /** The client goes away. */
      leave: async (): Promise<void> => {
        await blocks.return();
        this.#line({ stream_left: true });
      },
    };
  }

  async #fetch(
    method: string,
    path: string,
    body: unknown,
    headers: Record<string, string>,
  ): Promise<Response> {
    const sent = { ...headers, ...(body !== undefined && { "content-type": "application/json" }) };
    this.#line({
      request: {
        method,
        path,
        ...(Object.keys(sent).length > 0 && { headers: sent }),
        ...(body !== undefined && { body }),
      },
    });
    return fetch(this.gateway.url + path, {
      method,
      headers: { authorization: `Bearer ${this.gateway.token}`, ...sent },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  }

  #raw(side: string, text: string): void {
    this.lines.push(this.#normal(`{"${side}":${text}}`));
  }
  #line(value: Record<string, unknown>): void {
    this.lines.push(this.#normal(JSON.stringify(value)));
  }
}

/** The first frame at or after `from` that passes, whether it is there already or still comes. */
async function nextAfter(
  socket: TestSocket,
  from: number,
  passes: (frame: ReceivedFrame) => boolean,
): Promise<ReceivedFrame> {
  const here = socket.frames.slice(from).find(passes);
  if (here !== undefined) return here;
  return socket.next((frame) => socket.frames.indexOf(frame) >= from && passes(frame), 10_000);
}

/** What an answer says besides its body, as far as clients go by it. */
function headOf({ status, headers }: Response): Record<string, unknown> {
  const [type, location] = [headers.get("content-type"), headers.get("location")];
  return { status, ...(type !== null && { type }), ...(location !== null && { location }) };
}

async function* blocksOf(response: Response): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 2);
    }
  }
}
