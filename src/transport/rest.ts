import type { Caller, Dispatch, Outcome } from "../core/call.ts";
import type { Principal } from "../core/principal.ts";
import { runWait } from "../protocol/api/run.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodDefinition } from "../protocol/methods.ts";
import type { TransportContext } from "./context.ts";
import { errorResponse } from "./error.ts";
import { authenticate, callerOf } from "./rest-guard.ts";
import { onlyParameters, readObject, readQuery } from "./rest-input.ts";
import { routeOperation } from "./rest-openapi.ts";
import type { HttpRoute, Visit } from "./rest-reply.ts";
import { json, jsonText } from "./rest-reply.ts";
import type { MethodRoute } from "./rest-routes.ts";
import { METHOD_ROUTES, SOCKET_METHODS } from "./rest-routes.ts";

/** No method takes longer (run.wait 60 s); Bun's idle timer must not cut a quiet request before. */
const QUIET_SECS = 120;

/** Runs a method and resolves with its outcome. Never rejects. */
export function ask(dispatch: Dispatch, caller: Caller, method: string, params: unknown): Promise<Outcome> {
  return new Promise((answer) => dispatch(caller, { method, params }, answer));
}

export function outcomeResponse(outcome: Outcome, status: number): Response {
  if (!outcome.ok) return errorResponse(outcome.error);
  if ("text" in outcome) return jsonText(status, outcome.text);
  return json(status, outcome.payload ?? {});
}

/** `/api/v1/…`: methods under the names REST gives them. */
export function restRoutes(context: TransportContext): HttpRoute[] {
  return [
    ...METHOD_ROUTES.map((route) => methodRoute(context, route)),
    {
      verb: "POST",
      path: "/api/v1/rpc/:method",
      // The docs list one entry per method instead.
      describe: () => null,
      handle: (visit) => callAny(context, visit),
    },
  ];
}

function methodRoute(context: TransportContext, route: MethodRoute): HttpRoute {
  return {
    verb: route.verb,
    path: route.path,
    describe: () => {
      const definition = context.definition(route.method);
      return definition === undefined ? null : routeOperation(route, definition);
    },
    handle: async (visit) => {
      const principal = await authenticate(context, visit, "rest");
      const definition = known(context, route.method);
      const params = await paramsOf(context, route, definition, visit);
      visit.server.timeout(visit.request, QUIET_SECS);
      return outcomeResponse(await askSeated(context, visit, principal, route.method, params), route.status);
    },
  };
}

function known(context: TransportContext, method: string): MethodDefinition {
  const definition = context.definition(method);
  if (definition !== undefined) return definition;
  throw new GatewayError("NOT_FOUND", `no method "${method.slice(0, 64)}": GET /docs lists them`, {
    details: { kind: "method" },
  });
}

async function paramsOf(
  context: TransportContext,
  route: MethodRoute,
  definition: MethodDefinition,
  visit: Visit,
): Promise<Record<string, unknown>> {
  const { request, url } = visit;
  const path: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(route.fields)) path[field] = pathParameter(visit, name);
  if (route.takes === "query") {
    return {
      ...readQuery(url.searchParams, definition.params, new Set(Object.values(route.fields))),
      ...path,
    };
  }
  onlyParameters(url.searchParams, []);
  if (route.takes === "path") return path;
  const body = await readObject(context, request);
  for (const field of Object.keys(path)) if (Object.hasOwn(body, field)) throw saidTwice(field);
  return withKey({ ...body, ...path }, definition, request);
}

function saidTwice(field: string): GatewayError {
  return new GatewayError("INVALID_REQUEST", `${field} is in the path already: leave it out of the body`, {
    details: { kind: "duplicate", path: field },
  });
}

export function pathParameter(visit: Visit, name: string): string {
  const value = visit.params[name];
  if (typeof value === "string") return value;
  throw new GatewayError("INVALID_REQUEST", "the path is not percent-encoded UTF-8", {
    details: { kind: "path" },
  });
}

/** The header is the field by another name; other methods do not heed it. */
export function withKey(
  params: Record<string, unknown>,
  definition: MethodDefinition,
  request: Request,
): Record<string, unknown> {
  const key = request.headers.get("idempotency-key");
  if (key === null || definition.idempotent !== true) return params;
  const named = params["idempotency_key"];
  if (named === undefined || named === key) return { ...params, idempotency_key: key };
  throw new GatewayError("INVALID_REQUEST", "Idempotency-Key and idempotency_key differ: send one of them", {
    details: { kind: "duplicate", path: "idempotency_key" },
  });
}

async function callAny(context: TransportContext, visit: Visit): Promise<Response> {
  const principal = await authenticate(context, visit, "rest");
  const method = pathParameter(visit, "method");
  const instead = SOCKET_METHODS.get(context.definition(method)?.name ?? method);
  if (instead !== undefined) {
    throw new GatewayError("INVALID_REQUEST", `${method} is for sockets: ${instead}`, {
      details: { kind: "socket" },
    });
  }
  const definition = known(context, method);
  onlyParameters(visit.url.searchParams, []);
  const params = withKey(await readObject(context, visit.request), definition, visit.request);
  visit.server.timeout(visit.request, QUIET_SECS);
  return outcomeResponse(await askSeated(context, visit, principal, method, params), 200);
}

/** As ask; what waits takes a place among the connections meanwhile. @throws GatewayError UNAVAILABLE */
async function askSeated(
  context: TransportContext,
  visit: Visit,
  principal: Principal,
  method: string,
  params: Record<string, unknown>,
): Promise<Outcome> {
  const leave =
    context.definition(method)?.name === runWait.name
      ? context.connections.takeForRequest(principal)
      : undefined;
  const began = context.clock.monotonic();
  try {
    return await ask(context.dispatch, callerOf(visit, principal), method, params);
  } finally {
    leave?.();
    // To wait is all that it is asked for.
    if (leave !== undefined) visit.exchange.waited.run = context.clock.monotonic() - began;
  }
}
