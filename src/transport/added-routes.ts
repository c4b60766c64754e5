import type { AddedRoute, RouteCaller } from "../core/plugins.ts";
import type { Principal } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import { authenticate, callerOf } from "./rest-guard.ts";
import { readBody } from "./rest-input.ts";
import { parameter, SECURED } from "./rest-openapi.ts";
import type { HttpRoute, Operation, Visit } from "./rest-reply.ts";

const VERBS = ["GET", "POST", "PATCH", "DELETE"] as const;
/** A plug-in may answer later than its deadline says by its grace; Bun's idle timer must not cut it before. */
const QUIET_SECS = 120;
/** What says who somebody is is for the gateway alone. */
const PRIVATE_HEADERS = ["authorization", "cookie", "proxy-authorization"];
const NOBODY: Principal = {
  user: "",
  scopes: new Set(),
  method: "none",
  credential: null,
  expires_at: null,
};

/** Everything below `/plugins`, found among what plug-ins add at the moment of the request. */
export function addedRoutes(context: TransportContext): HttpRoute[] {
  return VERBS.flatMap((verb) =>
    ["/plugins/:plugin", "/plugins/:plugin/*"].map((path): HttpRoute => {
      return { verb, path, describe: () => null, handle: (visit) => answer(context, verb, visit) };
    }),
  );
}

/** As they are in the docs. */
export function describeAdded(context: TransportContext): HttpRoute[] {
  return context.addedRoutes().map((route) => ({
    verb: route.verb,
    path: route.path,
    describe: () => operationOf(route),
    handle: (visit) => answer(context, route.verb, visit),
  }));
}

async function answer(context: TransportContext, verb: AddedRoute["verb"], visit: Visit): Promise<Response> {
  const { request, url, remote } = visit;
  const found = find(context.addedRoutes(), verb, url.pathname);
  if (found === null) {
    throw new GatewayError(
      "NOT_FOUND",
      "no plug-in has such a path, or not with this verb: GET /docs lists them",
      {
        details: { kind: "path" },
      },
    );
  }
  const { route, params } = found;
  const principal = route.scope === "open" ? NOBODY : await authenticate(context, visit, "rest");
  requireScope(route, principal);
  if (verb !== "GET") {
    const refused = context.refuseChange(callerOf(visit, principal));
    if (refused !== null) throw refused;
  }
  const meter = route.scope === "open" ? context.strangers.meter(remote) : undefined;
  const body = await readBody(context, request, meter);
  visit.server.timeout(request, QUIET_SECS);
  const user = route.scope === "open" ? null : principal.user;
  const caller: RouteCaller = { user, scopes: principal.scopes, remote };
  return route.run(handedOn(request, body), params, caller);
}

function requireScope({ scope, verb, path }: AddedRoute, principal: Principal): void {
  if (scope === "open" || scope === null || principal.scopes.has(scope)) return;
  throw new GatewayError("FORBIDDEN", `${verb} ${path} needs the scope ${scope}`, {
    details: { kind: "scope", scope },
  });
}

/** The request with its whole body, and without what says who asks. */
function handedOn({ url, method, headers: given, signal }: Request, body: Uint8Array<ArrayBuffer>): Request {
  const headers = new Headers(given);
  for (const name of PRIVATE_HEADERS) headers.delete(name);
  const hasBody = body.length > 0 && method !== "GET" && method !== "HEAD";
  return new Request(url, { method, headers, signal, ...(hasBody && { body }) });
}

interface FoundRoute {
  readonly route: AddedRoute;
  readonly params: Readonly<Record<string, string>>;
}

/** The route of a path; one that says a part as it is counts more than one that has a name for it. */
function find(routes: readonly AddedRoute[], verb: string, pathname: string): FoundRoute | null {
  const parts = pathname.split("/");
  let best: (FoundRoute & { readonly named: number }) | null = null;
  for (const route of routes) {
    if (route.verb !== verb) continue;
    const params = match(route.path.split("/"), parts);
    if (params === null) continue;
    const named = Object.keys(params).length;
    if (best === null || named < best.named) best = { route, params, named };
  }
  return best;
}

/** What stands for the names; null: another path, or one that is not percent-encoded UTF-8. */
function match(path: readonly string[], parts: readonly string[]): Record<string, string> | null {
  if (path.length !== parts.length) return null;
  const params: Record<string, string> = {};
  for (const [index, wanted] of path.entries()) {
    const part = decoded(parts[index] ?? "");
    if (part === null) return null;
    if (!wanted.startsWith(":")) {
      if (wanted !== part) return null;
    } else if (part === "") return null;
    else params[wanted.slice(1)] = part;
  }
  return params;
}

function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    // Such a path leads nowhere.
    return null;
  }
}

function operationOf({ verb, path, plugin, doc, scope }: AddedRoute): Operation {
  const names = path.split("/").flatMap((part) => (part.startsWith(":") ? [part.slice(1)] : []));
  const needs =
    scope === "open"
      ? "Open to everybody."
      : scope === null
        ? "Any credential."
        : `Needs the scope \`${scope}\`.`;
  return {
    summary: doc,
    description: `Route of the plug-in \`${plugin}\`. ${needs}`,
    tags: ["plug-ins"],
    operationId: `${verb.toLowerCase()} ${path}`,
    parameters: names.map((name) => parameter("path", name, { type: "string" }, true)),
    ...(scope !== "open" && { security: SECURED }),
    "x-plugin": plugin,
    "x-scope": scope,
    responses: { default: { description: "What the plug-in answers" } },
  };
}
