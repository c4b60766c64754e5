import type { AddedRoute } from "../core/plugins.ts";
import type { Running } from "./running.ts";

/** The HTTP routes of a plug-in, below its own prefix. */
export function routesOf(running: Running): AddedRoute[] {
  const { name: plugin, routes = {} } = running.plugin;
  return Object.entries(routes).map(([key, route]): AddedRoute => {
    const [verb, path] = key.split(" ") as [AddedRoute["verb"], string];
    return {
      verb,
      path: prefixed(plugin, path),
      plugin,
      doc: route.doc,
      scope: "open" in route ? "open" : route.scope,
      run: (request, params, caller) =>
        running.call(
          key,
          (context) => responseOf(route.run(request, Object.assign(context, { params, ...caller }))),
          { signal: request.signal },
        ),
    };
  });
}

/** A path of a plug-in as the gateway has it. */
export function prefixed(plugin: string, path: string): string {
  return `/plugins/${plugin}${path === "/" ? "" : path}`;
}

/** @throws Error for what can be no answer */
function responseOf(answer: unknown): Response | Promise<Response> {
  if (answer instanceof Promise) return answer.then(responseOf);
  if (!(answer instanceof Response)) return Response.json(answer ?? null);
  if (answer.status === 0) throw new Error("answered a Response that is an error");
  if (answer.bodyUsed) throw new Error("answered a Response whose body was read already");
  return answer;
}
