import { resolve } from "node:path";
import { Elysia } from "elysia";
import bundle from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import icon from "swagger-ui-dist/favicon-32x32.png" with { type: "file" };
import styles from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import type { MethodDefinition } from "../protocol/methods.ts";
import type { TransportContext } from "./context.ts";
import { methodOperation } from "./rest-openapi.ts";
import type { HttpRoute, Operation, Verb } from "./rest-reply.ts";
import { jsonText } from "./rest-reply.ts";

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>agentbus API</title>
    <link rel="icon" type="image/png" href="/docs/icon.png" />
    <link rel="stylesheet" href="/docs/swagger-ui.css" />
  </head>
  <body>
    <div id="api"></div>
    <noscript>The same as JSON: <a href="/docs/json">/docs/json</a></noscript>
    <script src="/docs/swagger-ui.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

const START = `SwaggerUIBundle({
  url: "/docs/json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "none",
  persistAuthorization: false,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
`;

// Swagger UI sets styles by script, which needs no "unsafe-inline", and has pictures in its style sheet.
const PAGE_CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** `/docs` and what it needs, `/docs/json`: everything from inside the executable, nothing from elsewhere. */
export function docsRoutes(context: TransportContext, routes: () => readonly HttpRoute[]): HttpRoute[] {
  const document = createDocument(context, routes);
  return [
    page(
      "/docs",
      () =>
        new Response(PAGE, {
          headers: { "content-type": "text/html; charset=utf-8", "content-security-policy": PAGE_CSP },
        }),
    ),
    page("/docs/json", async () => jsonText(200, await document())),
    page("/docs/start.js", () => new Response(START, { headers: asset("text/javascript; charset=utf-8") })),
    page(
      "/docs/swagger-ui.js",
      () =>
        new Response(Bun.file(resolve(import.meta.dir, bundle)), {
          headers: asset("text/javascript; charset=utf-8"),
        }),
    ),
    page(
      "/docs/swagger-ui.css",
      () =>
        new Response(Bun.file(resolve(import.meta.dir, styles)), {
          headers: asset("text/css; charset=utf-8"),
        }),
    ),
    page(
      "/docs/icon.png",
      () => new Response(Bun.file(resolve(import.meta.dir, icon)), { headers: asset("image/png") }),
    ),
  ];
}

function page(path: string, handle: () => Response | Promise<Response>): HttpRoute {
  return { verb: "GET", path, describe: () => null, handle };
}

function asset(type: string): Record<string, string> {
  return { "content-type": type, "cache-control": "public, max-age=3600" };
}

/** The OpenAPI text, made anew when there are other methods or routes than before. */
function createDocument(
  context: TransportContext,
  routes: () => readonly HttpRoute[],
): () => Promise<string> {
  let made: { readonly of: readonly (readonly unknown[])[]; readonly text: Promise<string> } | null = null;
  return () => {
    const definitions = context.definitions();
    const of = [definitions, context.addedRoutes()];
    if (made === null || of.some((each, index) => made?.of[index] !== each)) {
      made = { of, text: describe(context, routes(), definitions) };
    }
    return made.text;
  };
}

/** Asks the swagger plug-in of an application that has the same routes and answers nothing else. */
async function describe(
  context: TransportContext,
  routes: readonly HttpRoute[],
  definitions: readonly MethodDefinition[],
): Promise<string> {
  // Read at the first look at the docs: the start of the gateway does not pay for it.
  const { swagger } = await import("@elysiajs/swagger");
  const app = new Elysia({ name: "agentbus-docs" }).use(
    swagger({
      path: "/page",
      specPath: "/json",
      excludeStaticFile: false,
      documentation: documentation(context),
    }),
  );
  for (const { verb, path, describe: operation } of routes) {
    const said = operation();
    if (said !== null) declare(app, verb, path, said);
  }
  for (const definition of definitions) {
    declare(app, "POST", `/api/v1/rpc/${definition.name}`, methodOperation(definition));
  }
  const response = await app.handle(new Request("http://localhost/json"));
  return response.text();
}

function declare(app: Elysia, verb: Verb, path: string, operation: Operation): void {
  app.route(verb, path, () => "", { detail: { ...operation, tags: [...operation.tags] } });
}

function documentation(context: TransportContext) {
  const { name, version } = context.options;
  return {
    info: {
      title: `${name} API`,
      version,
      description:
        "REST and SSE. Every method is also a frame on the WebSocket at `/ws`; `POST /api/v1/rpc/<method>` takes its params as the body.",
    },
    components: {
      securitySchemes: {
        bearer: { type: "http" as const, scheme: "bearer", description: "A token or a session_token." },
        basic: {
          type: "http" as const,
          scheme: "basic",
          description: "User `gateway`, with the password or a token.",
        },
      },
    },
  };
}
