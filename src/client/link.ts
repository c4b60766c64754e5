import type { EventFrame, ResponseFrame } from "../protocol/frames.ts";
import type { ClientError } from "./error.ts";
import { toClientError } from "./error.ts";
import type { Hello } from "./methods.ts";

export interface LinkOptions {
  readonly url: string;
  readonly WebSocket: typeof WebSocket;
  /** Params of `connect`. */
  readonly greeting: Record<string, unknown>;
  /** Longest from the first byte to the answer of `connect`. */
  readonly timeout_ms: number;
}

/** Called in order; `ready` at most once, `closed` exactly once and last. */
export interface LinkEvents {
  ready(hello: Hello): void;
  answer(frame: ResponseFrame): void;
  event(frame: EventFrame): void;
  /** `refusal` is the gateway's own word on why, where it gave one. */
  closed(end: LinkEnd): void;
}
export interface LinkEnd {
  readonly code: number;
  readonly reason: string;
  readonly refusal: ClientError | null;
  /** Whether the gateway had answered `connect`. */
  readonly was_ready: boolean;
}

/** One socket, from its handshake to its end. */
export interface Link {
  send(text: string): void;
  close(code: number): void;
}

const GREETING_ID = "connect";
/** How long a refused socket may take to close by itself. */
const REFUSED_MS = 1_000;

export function openLink(options: LinkOptions, events: LinkEvents): Link {
  let state: "greeting" | "refused" | "ready" | "closed" = "greeting";
  let refusal: ClientError | null = null;
  let failure = "";
  let seen_at = Date.now();
  let silence: ReturnType<typeof setInterval> | undefined;
  let timer = setTimeout(
    () => end(1006, `no answer within ${options.timeout_ms / 1_000} s`),
    options.timeout_ms,
  );
  const socket = new options.WebSocket(options.url);

  function end(code: number, reason: string): void {
    if (state === "closed") return;
    const was_ready = state === "ready";
    state = "closed";
    clearTimeout(timer);
    clearInterval(silence);
    if (socket.readyState < 2) socket.close();
    events.closed({ code, reason, refusal, was_ready });
  }

  function greeted(frame: ResponseFrame): void {
    clearTimeout(timer);
    if (!frame.ok || frame.payload === undefined) {
      state = "refused";
      refusal = frame.error === undefined ? null : toClientError(frame.error);
      const code = refusal?.retryable === true ? 1013 : 4000;
      timer = setTimeout(() => end(code, refusal?.message ?? "refused"), REFUSED_MS);
      return;
    }
    state = "ready";
    const hello = frame.payload as Hello;
    watch(hello);
    events.ready(hello);
  }

  /** A peer that vanished without a word leaves an open socket; the gateway's heartbeat tells them apart. */
  function watch(hello: Hello): void {
    const interval = hello.policy["heartbeat_interval"];
    if (typeof interval !== "number" || interval <= 0) return;
    silence = setInterval(() => {
      if (Date.now() - seen_at > interval * 2_500) end(1006, "silence");
    }, interval * 1_000);
  }

  socket.addEventListener("open", () => {
    const frame = { type: "req", id: GREETING_ID, method: "connect", params: options.greeting };
    socket.send(JSON.stringify(frame));
  });
  socket.addEventListener("message", ({ data }) => {
    seen_at = Date.now();
    const frame = parse(data);
    if (frame === null || state === "closed") return;
    if (frame.type === "event") events.event(frame);
    else if (state === "ready") events.answer(frame);
    else if (frame.id === GREETING_ID) greeted(frame);
  });
  // Browsers keep the cause to themselves; the others tell it here, right before the close.
  socket.addEventListener("error", (event) => (failure = "message" in event ? causeOf(event.message) : ""));
  socket.addEventListener("close", ({ code, reason }) => end(code, reason === "" ? failure : reason));

  return {
    send: (text) => socket.send(text),
    close: (code) => {
      socket.close(code);
      end(code, "");
    },
  };
}

/** Bun says the URL first, which whoever reads it knows. */
function causeOf(message: unknown): string {
  return String(message).replace(/^WebSocket connection to '[^']*' failed: /, "");
}

/** A frame of the gateway; null for anything else, which a client ignores. */
function parse(data: unknown): ResponseFrame | EventFrame | null {
  if (typeof data !== "string") return null;
  let frame: { type?: unknown };
  try {
    frame = JSON.parse(data) as { type?: unknown };
  } catch {
    return null;
  }
  return frame.type === "res" || frame.type === "event" ? (frame as ResponseFrame | EventFrame) : null;
}
