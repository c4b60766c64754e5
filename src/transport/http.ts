import type { Server, WebSocketHandler } from "bun";
import { Elysia } from "elysia";
import type { Listener } from "../core/hub.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import { Exchange } from "./http-exchange.ts";
import { errorResponse, publicError } from "./error.ts";
import type { TlsFiles } from "./listener.ts";
import { Ports, urlOf } from "./listener.ts";
import { frontPage } from "./page.ts";
import { guardRequest, guardRoute } from "./rest-guard.ts";
import type { Visit } from "./rest-reply.ts";
import { preflight, seal } from "./rest-reply.ts";
import { routesOf, SOCKET_PATHS } from "./routes.ts";
import { Streams } from "./sse-hub.ts";
import { Turns } from "./turn.ts";
import { awaitedBytes, leavesBody, lingering, mayLinger } from "./unread-body.ts";

/** The WebSocket side, as far as HTTP has to know it. */
export interface SocketUpgrades<D> {
  /** Undefined once the request is a socket, else the refusal. */
  upgrade(request: Request, server: Server<D>): Promise<Response | undefined> | Response | undefined;
  readonly websocket: WebSocketHandler<D>;
  /** The end of the topics for the sockets of one server. */
  listenerFor(server: Server<D>): Listener;
}

export interface Listening {
  readonly url: string;
  readonly port: number;
}

export interface HttpTransport {
  /**
   * Opens a listener; every one has the same surface. Port 0 picks one. `option`: what the user changes to have another
   * address. @throws GatewayError UNAVAILABLE where the address cannot be had
   */
  listen(hostname: string, port: number, option?: string, tls?: TlsFiles | null): Promise<Listening>;
  /**
   * Every listener goes on with another certificate; connections that are open stay as they are.
   * @throws GatewayError UNAVAILABLE where it cannot be done: nothing has changed
   */
  renew(tls: TlsFiles): void;
  /** Ends every event stream; the request that comes next reads why. */
  closeStreams(error: GatewayError): void;
  /** Closes the listeners and whatever is still open on them. Idempotent. */
  stop(): Promise<void>;
  /** The end of the topics for event streams; add it to the hub once. */
  readonly listener: Listener;
}

export function createHttp<D>(context: TransportContext, sockets: SocketUpgrades<D>): HttpTransport {
  const turns = new Turns(() => context.clock.monotonic());
  const streams = new Streams(context, turns);
  /** Which listener a request came in on, and when; Elysia knows of one listener at the most. */
  const cameBy: CameBy<D> = new WeakMap();
  const apps: { http?: App; https?: App } = {};
  const appFor = (scheme: "http" | "https"): App =>
    (apps[scheme] ??= createApp(context, streams, sockets, cameBy, scheme));

  /** Bun takes in what comes for those that wait meanwhile, and nobody knows yet who they are. Null: it is their turn. */
  async function inLine(request: Request, server: Server<D>): Promise<Response | null> {
    const peer = server.requestIP(request)?.address ?? "";
    const meter = context.strangers.meter(context.doors.remoteOf(peer, request.headers));
    const full = meter.add(awaitedBytes(request, context.limits));
    if (full === null) {
      await turns.another();
      meter.end();
      return null;
    }
    const response = errorResponse(publicError(context, full));
    response.headers.set("connection", "close");
    return response;
  }

  async function answer(request: Request, server: Server<D>): Promise<Response> {
    const exchange = new Exchange(context, request, server);
    cameBy.set(request, exchange);
    // HTTP lets a peer send thousands without waiting for an answer. Bun ends a connection on which a second request
    // comes while one waits, so what waits here is at most one of each.
    const refused = turns.over || turns.crowded ? await inLine(request, server) : null;
    if (refused !== null) {
      exchange.finish(request, refused);
      return seal(refused, null);
    }
    let response = await appFor(schemeOf(request.url)).fetch(request);
    exchange.finish(request, response);
    if (leavesBody(request, response, context.limits)) {
      response.headers.set("connection", "close");
      if (mayLinger(request, response)) response = await lingering(request, response, context.clock);
    }
    return seal(response, context.doors.corsOrigin(request.headers.get("origin")));
  }

  const ports = new Ports<D>(
    {
      websocket: sockets.websocket,
      fetch: answer,
      error: (error) => seal(errorResponse(publicError(context, error)), null),
    },
    context.clock,
    (server) => context.hub.addListener(sockets.listenerFor(server)),
  );

  return {
    listener: streams,
    listen: async (hostname, port, option = "server.port", tls = null) => {
      appFor(tls === null ? "http" : "https");
      const taken = await ports.open({ hostname, port, option }, tls);
      return { url: urlOf(hostname, taken, tls !== null), port: taken };
    },
    renew: (tls) => ports.renew(tls),
    closeStreams: (error) => streams.closeAll(error),
    stop: async () => {
      streams.closeAll(new GatewayError("UNAVAILABLE", "the gateway is stopping"));
      await ports.close();
    },
  };
}

type CameBy<D> = WeakMap<Request, Exchange<D>>;
type App = ReturnType<typeof createApp>;

function schemeOf(url: string): "http" | "https" {
  return url.startsWith("https:") ? "https" : "http";
}

/** Elysia looks for the path from a fixed place of the URL on: for https behind a host of three characters. */
function hasPlainHost(url: string): boolean {
  return url.indexOf("/", "https://".length) >= "https://abc".length;
}

function createApp<D>(
  context: TransportContext,
  streams: Streams,
  sockets: SocketUpgrades<D>,
  cameBy: CameBy<D>,
  scheme: "http" | "https",
) {
  function visitOf(request: Request, params: Record<string, string | null>): Visit {
    const exchange = cameBy.get(request) as Exchange<D>;
    const server = exchange.server as Server<unknown>;
    const remote = context.doors.remoteOf(server.requestIP(request)?.address ?? "", request.headers);
    return { request, url: new URL(request.url), params, server, remote, exchange };
  }

  const app = new Elysia({ name: "agentbus", handler: { standardHostname: scheme === "https" } })
    .onRequest(({ request }) => {
      guardRequest(context, request);
      if (scheme === "https" && !hasPlainHost(request.url)) throw shortHost();
      if (request.method === "OPTIONS") return preflight();
      return undefined;
    })
    .onError(({ error, request }) => errorResponse(publicError(context, error, cameBy.get(request)?.mark)));

  const front = frontPage(context);
  for (const path of SOCKET_PATHS) {
    app.get(path, ({ request }) => {
      if (request.headers.get("upgrade")?.toLowerCase() === "websocket") return upgrade(request);
      if (path === "/") return front(visitOf(request, {}));
      throw new GatewayError("INVALID_REQUEST", "this is the WebSocket: connect with a WebSocket client", {
        http: 426,
      });
    });
  }
  for (const route of routesOf(context, streams)) {
    app.route(route.verb, route.path, ({ request, params }) => {
      const visit = visitOf(request, params);
      guardRoute(context, route, visit);
      return route.handle(visit);
    });
  }

  function upgrade(request: Request): Promise<Response | undefined> | Response | undefined {
    const { server } = cameBy.get(request) as Exchange<D>;
    if (context.options.sockets) return sockets.upgrade(request, server);
    throw new GatewayError("NOT_FOUND", "WebSockets are off (gateway.enabled = false): use REST and SSE", {
      details: { kind: "path" },
    });
  }

  app.compile();
  return app;
}

function shortHost(): GatewayError {
  return new GatewayError(
    "INVALID_REQUEST",
    "a host name of one or two letters does not work with TLS: use a longer one, or the address",
    { details: { kind: "host" } },
  );
}
