import type { TransportContext } from "./context.ts";
import { assetRoute } from "./page.ts";
import { docsRoutes } from "./docs.ts";
import { oneshotRoutes } from "./oneshot.ts";
import { restRoutes } from "./rest.ts";
import { fileRoutes } from "./rest-files.ts";
import { hookRoutes } from "./rest-hooks.ts";
import { loginRoutes } from "./rest-login.ts";
import { metricsRoute } from "./rest-metrics.ts";
import { addedRoutes, describeAdded } from "./added-routes.ts";
import { openRoutes } from "./rest-open.ts";
import type { HttpRoute } from "./rest-reply.ts";
import { eventsRoute } from "./sse.ts";
import type { Streams } from "./sse-hub.ts";

/** Where a WebSocket is asked for; to who asks for none the last one is the front page. */
export const SOCKET_PATHS = ["/ws", "/"] as const;

/** Every route of the surface but those. */
export function routesOf(context: TransportContext, streams: Streams): HttpRoute[] {
  const routes: HttpRoute[] = [
    ...openRoutes(context),
    metricsRoute(context),
    ...restRoutes(context),
    ...loginRoutes(context),
    ...fileRoutes(context),
    ...hookRoutes(context),
    eventsRoute(context, streams),
    ...oneshotRoutes(context, streams),
    assetRoute(context),
    ...addedRoutes(context),
  ];
  routes.push(...docsRoutes(context, () => [...routes, ...describeAdded(context)]));
  return routes;
}
