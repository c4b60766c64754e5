import type { Server } from "bun";
import type { Exchange } from "./http-exchange.ts";

/** One HTTP request: what was asked, where it came in, and from whom. */
export interface Visit {
  readonly request: Request;
  readonly url: URL;
  /** Path parameters, decoded; null where the percent-encoding is broken. */
  readonly params: Readonly<Record<string, string | null>>;
  readonly server: Server<unknown>;
  /** The client's address. */
  readonly remote: string;
  readonly exchange: Pick<Exchange<unknown>, "mark" | "waited" | "waitedFor">;
}

export type Verb = "GET" | "POST" | "PATCH" | "DELETE";

/** What the API docs say of a route: an OpenAPI operation. */
export interface Operation {
  readonly summary: string;
  readonly tags: readonly string[];
  readonly [field: string]: unknown;
}

/** A route of the surface. The transport registers them, the docs list those that describe themselves. */
export interface HttpRoute {
  readonly verb: Verb;
  readonly path: string;
  /** An event stream: Origin counts although it is a GET, and a ticket may stand in its URL. */
  readonly streams?: boolean;
  /** What the docs say; null: nothing, or the method behind it does not exist here. */
  readonly describe: () => Operation | null;
  readonly handle: (visit: Visit) => Response | Promise<Response>;
}

export function json(status: number, payload: unknown, headers: Record<string, string> = {}): Response {
  return jsonText(status, JSON.stringify(payload), headers);
}

/** As json, with text that is JSON already. */
export function jsonText(status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(text, { status, headers: { "content-type": "application/json", ...headers } });
}

const BASE_HEADERS = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  // What a page of another site has the browser fetch without asking, as an image or a script, does not reach its process.
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
} as const;

const EXPOSED =
  "Location, Retry-After, WWW-Authenticate, X-Request-Id, Server-Timing, X-Agentbus-Overhead-Ms";

/** Puts on what every answer carries; a header that the handler set stays. `cors`: the Origin to echo. */
export function seal(response: Response, cors: string | null): Response {
  const { headers } = response;
  for (const [name, value] of Object.entries(BASE_HEADERS)) if (!headers.has(name)) headers.set(name, value);
  headers.append("vary", "Origin");
  if (cors !== null) {
    headers.set("access-control-allow-origin", cors);
    headers.set("access-control-expose-headers", EXPOSED);
  }
  return response;
}

const PREFLIGHT_HEADERS = {
  "access-control-allow-methods": "GET, POST, PATCH, DELETE",
  "access-control-allow-headers":
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Client-Id, X-Request-Id, traceparent",
  "access-control-max-age": "600",
} as const;

/** The answer to a preflight; without CORS headers (see seal) a browser takes it for a no. */
export function preflight(): Response {
  return new Response(null, { status: 204, headers: PREFLIGHT_HEADERS });
}
