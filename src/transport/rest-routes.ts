import type { Verb } from "./rest-reply.ts";

/** A REST route that is one method under another name. */
export interface MethodRoute {
  readonly verb: Verb;
  readonly path: string;
  readonly method: string;
  /** Where the params come from, beside the path: GET the query, POST and PATCH the body; "path": nowhere else. */
  readonly takes: "query" | "body" | "path";
  /** Path parameter → field of the params. */
  readonly fields: Readonly<Record<string, string>>;
  /** HTTP status of success. */
  readonly status: number;
}

const SESSION = { id: "session_id" };
const WEBHOOK = { id: "webhook_id" };
const SCHEDULE = { id: "schedule_id" };

function get(path: string, method: string, fields: Record<string, string> = {}): MethodRoute {
  return { verb: "GET", path: `/api/v1${path}`, method, takes: "query", fields, status: 200 };
}
function post(
  path: string,
  method: string,
  status: number,
  fields: Record<string, string> = {},
): MethodRoute {
  return { verb: "POST", path: `/api/v1${path}`, method, takes: "body", fields, status };
}
function remove(path: string, method: string, fields: Record<string, string> = {}): MethodRoute {
  return { verb: "DELETE", path: `/api/v1${path}`, method, takes: "path", fields, status: 200 };
}

/** REST as a projection of methods: everything here is also a method, and does what the method does. */
export const METHOD_ROUTES: readonly MethodRoute[] = [
  get("/sessions", "session.list"),
  post("/sessions", "session.create", 201),
  get("/sessions/:id", "session.get", SESSION),
  { ...post("/sessions/:id", "session.update", 200, SESSION), verb: "PATCH" },
  remove("/sessions/:id", "session.delete", SESSION),
  get("/sessions/:id/messages", "chat.history", SESSION),
  post("/sessions/:id/messages", "chat.send", 202, SESSION),
  post("/sessions/:id/abort", "chat.abort", 200, SESSION),
  get("/search", "session.search"),
  get("/runs/:id", "run.get", { id: "run_id" }),
  get("/clients", "client.list"),
  get("/stats", "system.stats"),
  get("/usage", "usage.get"),
  get("/models", "model.list"),
  get("/skills", "skill.list"),
  get("/hooks", "hook.list"),
  post("/hooks", "hook.create", 201),
  { ...post("/hooks/:id", "hook.update", 200, { id: "hook_id" }), verb: "PATCH" },
  remove("/hooks/:id", "hook.delete", { id: "hook_id" }),
  get("/schedules", "schedule.list"),
  post("/schedules", "schedule.create", 201),
  { ...post("/schedules/:id", "schedule.update", 200, SCHEDULE), verb: "PATCH" },
  remove("/schedules/:id", "schedule.delete", SCHEDULE),
  post("/schedules/:id/run", "schedule.run", 202, SCHEDULE),
  get("/webhooks", "webhook.list"),
  post("/webhooks", "webhook.create", 201),
  { ...post("/webhooks/:id", "webhook.update", 200, WEBHOOK), verb: "PATCH" },
  remove("/webhooks/:id", "webhook.delete", WEBHOOK),
  get("/webhooks/:id/deliveries", "webhook.deliveries", WEBHOOK),
  get("/tokens", "token.list"),
  get("/devices", "device.list"),
  post("/tickets", "ticket.create", 201),
  remove("/auth_sessions/current", "auth_session.revoke"),
  get("/history/:id", "chat.history", SESSION),
  post("/stop/:id", "chat.abort", 200, SESSION),
];

/** Methods that are about a socket, and what to do instead. */
export const SOCKET_METHODS: ReadonlyMap<string, string> = new Map([
  ["connect", "each request carries its credential in the Authorization header"],
  ["disconnect", "there is nothing to disconnect here"],
  ["session.subscribe", "use GET /api/v1/sessions/:id/events"],
  ["session.unsubscribe", "close the stream of GET /api/v1/sessions/:id/events"],
]);
