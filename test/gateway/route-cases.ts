import { METHOD_ROUTES } from "../../src/transport/rest-routes.ts";
import type { World } from "./world.ts";
import { METHOD_CASES } from "./method-cases.ts";

/** A request that succeeds. */
export interface RouteRequest {
  readonly path: string;
  readonly body?: unknown;
}

export interface RouteCase {
  /** The method whose scope it needs. */
  readonly method: string;
  /** Made anew for each. */
  readonly request: (world: World) => RouteRequest | Promise<RouteRequest>;
  readonly status: number;
  /** An event stream, which a ticket opens, too. */
  readonly streams?: true;
}

/** What needs no credential, in whatever state it is. */
export const OPEN_ROUTES = [
  "GET /health",
  "GET /ready",
  "GET /status",
  "GET /docs",
  "GET /docs/json",
  "GET /docs/start.js",
  "GET /docs/swagger-ui.js",
  "GET /docs/swagger-ui.css",
  "GET /docs/icon.png",
  "GET /assets/:name",
  // How to come by a credential.
  "POST /api/v1/challenges",
];

/** What has a secret of its own, and takes no credential of the gateway's: test/gateway/inbound-hooks.test.ts. */
export const OWN_SECRET_ROUTES = ["POST /api/v1/hooks/:name"];

/** What is a method by another name is asked for as that method is. */
const PROJECTED: [string, RouteCase][] = METHOD_ROUTES.map(
  ({ verb, path, method, takes, fields, status }) => [
    `${verb} ${path}`,
    {
      method,
      status,
      async request(world) {
        const params = { ...(await METHOD_CASES[method]?.params(world)) };
        let filled = path;
        for (const [name, field] of Object.entries(fields)) {
          filled = filled.replace(`:${name}`, encodeURIComponent(String(params[field])));
          delete params[field];
        }
        if (takes === "body") return { path: filled, body: params };
        if (takes === "path") return { path: filled };
        const query = new URLSearchParams(Object.entries(params).map(([key, value]) => [key, String(value)]));
        return { path: query.size === 0 ? filled : `${filled}?${query}` };
      },
    },
  ],
);

/** What plug-ins add is asked for at the one that access-secrets.ts has. */
const ADDED: [string, RouteCase][] = ["GET", "POST", "PATCH", "DELETE"].flatMap((verb) =>
  [
    ["/plugins/:plugin", "/plugins/matrix"],
    ["/plugins/:plugin/*", "/plugins/matrix/below/it"],
  ].map(([pattern = "", path = ""]): [string, RouteCase] => [
    `${verb} ${pattern}`,
    { method: "system.status", request: () => ({ path }), status: 200 },
  ]),
);

/** A request that succeeds, for every route that needs a credential. */
export const ROUTE_CASES: Readonly<Record<string, RouteCase>> = {
  ...Object.fromEntries([...PROJECTED, ...ADDED]),
  "GET /metrics": { method: "system.stats", request: () => ({ path: "/metrics" }), status: 200 },
  // It logs out who came with a session_token; others have to say which one.
  "DELETE /api/v1/auth_sessions/current": {
    method: "auth_session.revoke",
    request: () => ({ path: "/api/v1/auth_sessions/current" }),
    status: 400,
  },
  "POST /api/v1/rpc/:method": {
    method: "system.status",
    request: () => ({ path: "/api/v1/rpc/system.status", body: {} }),
    status: 200,
  },
  "POST /api/v1/auth_sessions": {
    method: "auth_session.create",
    request: () => ({ path: "/api/v1/auth_sessions", body: {} }),
    status: 201,
  },
  "POST /api/v1/chat": {
    method: "chat.send",
    request: async (world) => ({
      path: "/api/v1/chat",
      body: { session_id: await world.freshSession(), message: "hello" },
    }),
    status: 201,
  },
  "POST /api/v1/attachments": {
    method: "chat.send",
    request: () => ({ path: "/api/v1/attachments?name=a.json", body: { a: "file" } }),
    status: 201,
  },
  "GET /api/v1/sessions/:id/attachments/:attachment_id": {
    method: "chat.history",
    request: ({ session_id, attachment_id }) => ({
      path: `/api/v1/sessions/${session_id}/attachments/${attachment_id}`,
    }),
    status: 200,
  },
  "GET /api/v1/stream/:session_id": {
    method: "session.subscribe",
    request: ({ session_id, run_id }) => ({ path: `/api/v1/stream/${session_id}?run=${run_id}` }),
    status: 200,
    streams: true,
  },
  "GET /api/v1/sessions/:id/events": {
    method: "session.subscribe",
    request: ({ session_id, run_id }) => ({ path: `/api/v1/sessions/${session_id}/events?until=${run_id}` }),
    status: 200,
    streams: true,
  },
};
