import type { Admission, Verdict } from "./admission.ts";
import type { Challenge } from "./device.ts";
import type { ClientError } from "./error.ts";
import { AbortedError, ConnectionError, GatewayError, toClientError } from "./error.ts";
import type { Http } from "./http.ts";
import type { Link, LinkEnd, LinkEvents } from "./link.ts";
import { openLink } from "./link.ts";
import type { ClientOptions } from "./options.ts";
import { greetingOf, restBase, socketUrl } from "./options.ts";

/** So often it was no accident. */
const BLOCKED = 3;
const CONNECT_TIMEOUT_MS = 10_000;

/** How a client reaches its gateway: over a socket, or, where none gets through, over HTTP. */
export class Way {
  readonly url: string;
  readonly #options: ClientOptions;
  readonly #greeting;
  /** Null: no device asks to be let in, or has not been asked yet. */
  #admission: Admission | null = null;
  #http: Promise<Http> | null = null;
  #loaded: Http | null = null;
  #transport: "websocket" | "sse" | "unknown";
  /** How often no socket opened although the gateway answered over HTTP. */
  #blocked = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
    const { transport } = options;
    if (transport === "websocket" && this.#Socket === undefined) {
      throw new TypeError(
        "this runtime has no WebSocket: pass one as options.WebSocket, or leave transport out",
      );
    }
    this.url = socketUrl(options.url);
    this.#greeting = greetingOf(options);
    this.#transport =
      this.#Socket === undefined
        ? "sse"
        : transport === undefined || transport === "auto"
          ? "unknown"
          : transport;
  }

  /** The way over HTTP, loaded by whoever needs it first. @throws ClientError UNREACHABLE */
  http(): Promise<Http> {
    this.#http ??= this.#loadHttp().catch((cause: unknown) => {
      this.#http = null;
      throw unloaded("client-http.js", cause);
    });
    return this.#http;
  }

  async #loadHttp(): Promise<Http> {
    const { createHttp } = await import("./http.ts");
    this.#loaded = createHttp({
      errors: { AbortedError, ConnectionError, GatewayError, toClientError },
      base: restBase(this.url),
      // A browser's own wants to be called on nothing.
      fetch: this.#options.fetch ?? ((url, init) => fetch(url, init)),
      greeting: this.#greeting,
      prove: this.#prove,
    });
    return this.#loaded;
  }

  /** Over: a login that was made is given back, at once, for a process may end with it. */
  close(): void {
    void this.#loaded?.close();
  }

  open(events: LinkEvents): Link {
    if (this.#transport === "sse") return this.#openRest(events);
    if (this.#transport === "websocket") return this.#openSocket(events);
    return this.#openEither(events);
  }

  /** What was in the way of a socket may be gone. */
  renew(): void {
    this.#blocked = 0;
    if (this.#options.transport !== "sse" && this.#Socket !== undefined && this.#transport === "sse")
      this.#transport = "unknown";
  }

  /** What a lost link means for a device that is not in; null: nothing. */
  lost(error: ClientError, now: number): Verdict | null {
    return this.#admission?.lost(error, now) ?? null;
  }

  get #prove() {
    const { device } = this.#options;
    if (device === undefined) return null;
    return async (challenge: Challenge) => {
      const { createAdmission } = await import("./admission.ts").catch((cause: unknown) => {
        throw unloaded("client-device.js", cause);
      });
      this.#admission ??= createAdmission(
        device,
        this.#greeting.client_id,
        (late, details) => new GatewayError("UNAUTHORIZED", late, { details }),
      );
      return this.#admission.prove(challenge);
    };
  }

  get #Socket(): ClientOptions["WebSocket"] {
    return this.#options.WebSocket ?? globalThis.WebSocket;
  }
  get #timeout_ms(): number {
    return this.#options.connect_timeout_ms ?? CONNECT_TIMEOUT_MS;
  }

  #openSocket(events: LinkEvents): Link {
    const { url } = this;
    const [greeting, timeout_ms] = [this.#greeting, this.#timeout_ms];
    return openLink(
      { url, WebSocket: this.#Socket ?? WebSocket, greeting, prove: this.#prove, timeout_ms },
      this.#admitting(events),
    );
  }

  #openRest(events: LinkEvents): Link {
    let link: Link | null = null;
    let closed = false;
    const end = (code: number, reason: string): void => {
      if (closed) return;
      closed = true;
      events.closed({ code, reason, refusal: null, was_ready: false });
    };
    this.http().then(
      (http) => {
        if (!closed) link = http.open(this.#timeout_ms, this.#admitting(events));
      },
      (error: ClientError) => end(1006, error.message),
    );
    return {
      send: (text) => link?.send(text),
      close: (code) => (link === null ? end(code, "") : link.close(code)),
    };
  }

  #admitting(events: LinkEvents): LinkEvents {
    return {
      ...events,
      ready: (hello) => {
        this.#admission?.admitted();
        events.ready(hello);
      },
    };
  }

  /** A socket first; where none opens although the gateway answers over HTTP, that is how it is reached. */
  #openEither(events: LinkEvents): Link {
    let current: Link | null = null;
    let closed = false;
    const instead = (end: LinkEnd): void => {
      current = this.#openRest({
        ...events,
        ready: (hello) => {
          if (++this.#blocked >= BLOCKED) this.#transport = "sse";
          events.ready(hello);
        },
        // That of the socket says more, unless the gateway itself has spoken.
        closed: (again) => events.closed(again.was_ready || again.refusal !== null ? again : end),
      });
    };
    current = this.#openSocket({
      ...events,
      ready: (hello) => {
        this.#transport = "websocket";
        events.ready(hello);
      },
      closed: (end) => {
        const blocked = !end.was_ready && end.refusal === null && end.code === 1006 && !closed;
        if (blocked) instead(end);
        else events.closed(end);
      },
    });
    return {
      send: (text) => current?.send(text),
      close: (code) => {
        closed = true;
        current?.close(code);
      },
    };
  }
}

/** A part that belongs beside client.js, where it was not bundled into one with it. */
function unloaded(part: string, cause: unknown): ClientError {
  return new ConnectionError(
    "UNREACHABLE",
    `${part}, a part of the client, cannot be loaded (${String(cause)})`,
  );
}
