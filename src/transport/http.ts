import type { Server, WebSocketHandler } from "bun";
import { Elysia } from "elysia";
import type { Listener } from "../core/hub.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import { docsRoutes } from "./docs.ts";
import { errorResponse, publicError } from "./error.ts";
import { oneshotRoutes } from "./oneshot.ts";
import { frontPage } from "./page.ts";
import { restRoutes } from "./rest.ts";
import { guardRequest, guardRoute } from "./rest-guard.ts";
import { openRoutes } from "./rest-open.ts";
import type { HttpRoute, Visit } from "./rest-reply.ts";
import { preflight, seal } from "./rest-reply.ts";
import { eventsRoute } from "./sse.ts";
import { Streams } from "./sse-hub.ts";
import { Turns } from "./turn.ts";

/** The WebSocket side, as far as HTTP has to know it. */
export interface SocketUpgrades<D> {
  /** Undefined once the request is a socket, else the refusal. */
  upgrade(request: Request, server: Server<D>): Promise<Response | undefined> | Response | undefined;
  readonly websocket: WebSocketHandler<D>;
}

export interface Listening<D> {
  readonly url: string;
  readonly port: number;
  readonly server: Server<D>;
}

export interface HttpTransport<D> {
  /**
   * Opens a listener; every one has the same surface. Port 0 picks one. `option`: what the user changes to have another
   * address. @throws GatewayError UNAVAILABLE where the address cannot be had
   */
  listen(hostname: string, port: number, option?: string): Promise<Listening<D>>;
  /** Ends every event stream; the request that comes next reads why. */
  closeStreams(error: GatewayError): void;
  /** Closes the listeners and whatever is still open on them. Idempotent. */
  stop(): Promise<void>;
  /** The end of the topics for event streams; add it to the hub once. */
  readonly listener: Listener;
}

/** Idle sockets are closed after this; streams and slow methods say otherwise. */
const IDLE_SECS = 30;

export function createHttp<D>(context: TransportContext, sockets: SocketUpgrades<D>): HttpTransport<D> {
  const turns = new Turns(() => context.clock.monotonic());
  const streams = new Streams(context, turns);
  const servers = new Set<Server<D>>();
  /** Which listener a request came in on; Elysia knows of one at the most. */
  const cameBy = new WeakMap<Request, Server<D>>();
  const app = createApp(context, streams, sockets, cameBy);

  async function answer(request: Request, server: Server<D>): Promise<Response> {
    cameBy.set(request, server);
    // HTTP lets a peer send thousands without waiting for an answer. Bun ends a connection on which a second request
    // comes while one waits, so what waits here is at most one of each.
    if (turns.over || turns.crowded) await turns.another();
    const response = await app.fetch(request);
    return seal(response, context.doors.corsOrigin(request.headers.get("origin")));
  }

  return {
    listener: streams,
    listen: async (hostname, port, option = "server.port") => {
      const server = serve(context, sockets, answer, { hostname, port, option });
      servers.add(server);
      return { url: urlOf(hostname, server.port ?? port), port: server.port ?? port, server };
    },
    closeStreams: (error) => streams.closeAll(error),
    stop: async () => {
      streams.closeAll(new GatewayError("UNAVAILABLE", "the gateway is stopping"));
      const all = [...servers];
      servers.clear();
      await Promise.all(all.map((server) => server.stop(true)));
    },
  };
}

function createApp<D>(
  context: TransportContext,
  streams: Streams,
  sockets: SocketUpgrades<D>,
  cameBy: WeakMap<Request, Server<D>>,
) {
  const routes: HttpRoute[] = [
    ...openRoutes(context),
    ...restRoutes(context),
    eventsRoute(context, streams),
    ...oneshotRoutes(context, streams),
  ];
  routes.push(...docsRoutes(context, () => routes));

  function visitOf(request: Request, params: Record<string, string | null>): Visit {
    const server = cameBy.get(request) as Server<unknown>;
    const remote = context.doors.remoteOf(server.requestIP(request)?.address ?? "", request.headers);
    return { request, url: new URL(request.url), params, server, remote };
  }

  const app = new Elysia({ name: "agentbus", handler: { standardHostname: false } })
    .onRequest(({ request }) => {
      guardRequest(context, request);
      if (request.method === "OPTIONS") return preflight();
      return undefined;
    })
    .onError(({ error }) => errorResponse(publicError(context, error)));

  const front = frontPage(context);
  for (const path of ["/ws", "/"]) {
    app.get(path, ({ request }) => {
      if (request.headers.get("upgrade")?.toLowerCase() === "websocket") return upgrade(request);
      if (path === "/") return front(visitOf(request, {}));
      throw new GatewayError("INVALID_REQUEST", "this is the WebSocket: connect with a WebSocket client", {
        http: 426,
      });
    });
  }
  for (const route of routes) {
    app.route(route.verb, route.path, ({ request, params }) => {
      const visit = visitOf(request, params);
      guardRoute(context, route, visit);
      return route.handle(visit);
    });
  }

  function upgrade(request: Request): Promise<Response | undefined> | Response | undefined {
    if (context.options.sockets) return sockets.upgrade(request, cameBy.get(request) as Server<D>);
    throw new GatewayError("NOT_FOUND", "WebSockets are off (gateway.enabled = false): use REST and SSE", {
      details: { kind: "path" },
    });
  }

  app.compile();
  return app;
}

function serve<D>(
  context: TransportContext,
  sockets: SocketUpgrades<D>,
  answer: (request: Request, server: Server<D>) => Promise<Response>,
  where: { hostname: string; port: number; option: string },
): Server<D> {
  const { hostname, port } = where;
  try {
    return Bun.serve<D>({
      hostname,
      port,
      // Else a second process may bind the same port, and neither is told.
      reusePort: false,
      development: false,
      idleTimeout: IDLE_SECS,
      // Bodies are bounded where they are read, with an answer in our own words.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      websocket: sockets.websocket,
      fetch: answer,
      error: (error) => errorResponse(publicError(context, error)),
    });
  } catch (error) {
    throw cannotListen(error, where);
  }
}

function cannotListen(
  error: unknown,
  where: { hostname: string; port: number; option: string },
): GatewayError {
  const { hostname, port, option } = where;
  const at = `${bracketed(hostname)}:${port}`;
  const said: Record<string, string> = {
    EADDRINUSE: `${at} is in use: stop what listens there, or set ${option} to a free port`,
    EACCES: `no permission to listen on ${at}: set ${option} to a port above 1023`,
    EADDRNOTAVAIL: `${hostname} is no address of this machine: set server.host (or gateway.bind) to one that is`,
  };
  const code = (error as { code?: string }).code ?? "";
  return new GatewayError(
    "UNAVAILABLE",
    said[code] ?? `cannot listen on ${at} (${code}): set ${option} to another`,
    {
      details: { kind: "listen" },
      cause: error,
    },
  );
}

function urlOf(hostname: string, port: number): string {
  const anywhere = hostname === "0.0.0.0" || hostname === "";
  return `http://${anywhere ? "127.0.0.1" : hostname === "::" ? "[::1]" : bracketed(hostname)}:${port}`;
}

function bracketed(hostname: string): string {
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}
