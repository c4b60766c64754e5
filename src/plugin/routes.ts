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
      async run(request, params, caller) {
        const answer = await running.call(
          key,
          (context) => route.run(request, Object.assign(context, { params, ...caller })),
          { signal: request.signal },
        );
        return answer instanceof Response ? answer : jsonOf(answer);
      },
    };
  });
}

/** A path of a plug-in as the gateway has it. */
export function prefixed(plugin: string, path: string): string {
  return `/plugins/${plugin}${path === "/" ? "" : path}`;
}

function jsonOf(answer: unknown): Response {
  return new Response(JSON.stringify(answer ?? null), { headers: { "content-type": "application/json" } });
}
