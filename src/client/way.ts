import type { ClientError } from "./error.ts";
import type { Link, LinkEnd, LinkEvents } from "./link.ts";
import { openLink } from "./link.ts";
import type { ClientOptions } from "./options.ts";
import { greetingOf, restBase, socketUrl } from "./options.ts";
import type { Admission, Verdict } from "./pairing.ts";
import { createAdmission } from "./pairing.ts";
import { RestAccess } from "./rest-access.ts";
import { openRestLink } from "./rest-link.ts";

/** So often it was no accident. */
const BLOCKED = 3;
const CONNECT_TIMEOUT_MS = 10_000;

/** How a client reaches its gateway: over a socket, or, where none gets through, over HTTP. */
export class Way {
  readonly url: string;
  readonly #options: ClientOptions;
  readonly #greeting;
  /** Null: no device asks to be let in. */
  readonly #admission: Admission | null;
  readonly rest: RestAccess;
  #transport: "websocket" | "sse" | "unknown";
  /** How often no socket opened although the gateway answered over HTTP. */
  #blocked = 0;

  constructor(options: ClientOptions) {
    const { transport = "auto" } = options;
    const has_socket = (options.WebSocket ?? globalThis.WebSocket) !== undefined;
    if (transport === "websocket" && !has_socket) {
      throw new TypeError(
        "this runtime has no WebSocket: pass one as options.WebSocket, or leave transport out",
      );
    }
    this.#options = options;
    this.url = socketUrl(options.url);
    this.#greeting = greetingOf(options);
    this.#admission = options.device ? createAdmission(options.device, this.#greeting.client_id) : null;
    this.#transport = transport !== "auto" ? transport : has_socket ? "unknown" : "sse";
    this.rest = new RestAccess({
      base: restBase(this.url),
      // A browser's own wants to be called on nothing.
      fetch: options.fetch ?? ((url, init) => fetch(url, init)),
      greeting: this.#greeting,
      prove: this.#prove,
    });
  }

  open(events: LinkEvents): Link {
    if (this.#transport === "sse") return this.#openRest(events);
    if (this.#transport === "websocket") return this.#openSocket(events);
    return this.#openEither(events);
  }

  /** What was in the way of a socket may be gone. */
  renew(): void {
    const { transport = "auto" } = this.#options;
    const has_socket = (this.#options.WebSocket ?? globalThis.WebSocket) !== undefined;
    this.#blocked = 0;
    if (transport === "auto" && has_socket && this.#transport === "sse") this.#transport = "unknown";
  }

  /** What a lost link means for a device that is not in; null: nothing. */
  lost(error: ClientError, now: number): Verdict | null {
    return this.#admission?.lost(error, now) ?? null;
  }

  get #prove() {
    const admission = this.#admission;
    return admission === null
      ? null
      : (challenge: Parameters<Admission["prove"]>[0]) => admission.prove(challenge);
  }
  get #timeout_ms(): number {
    return this.#options.connect_timeout_ms ?? CONNECT_TIMEOUT_MS;
  }

  #openSocket(events: LinkEvents): Link {
    const { WebSocket: Socket = globalThis.WebSocket } = this.#options;
    const greeting = this.#greeting;
    return openLink(
      { url: this.url, WebSocket: Socket, greeting, prove: this.#prove, timeout_ms: this.#timeout_ms },
      this.#admitting(events),
    );
  }

  #openRest(events: LinkEvents): Link {
    return openRestLink(this.rest, this.#timeout_ms, this.#admitting(events));
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
