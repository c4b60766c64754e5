import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import type { HttpRoute, Visit } from "./rest-reply.ts";

/**
 * Nothing but what is in the executable, and no text that could become a script: where a browser knows trusted types it
 * refuses to make any. Its own WebSocket is "self" too. blob: are the pictures one is about to send.
 */
const PAGE_CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
  "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'; trusted-types 'none'";
const ASSETS = "/assets/";
const TYPES: Readonly<Record<string, string>> = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  png: "image/png",
  webmanifest: "application/manifest+json",
};

/** `GET /`: the console. Without scripts it says what this is and how to talk to it. */
export function frontPage(context: TransportContext): (visit: Visit) => Promise<Response> {
  const headers = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": PAGE_CSP,
    "cache-control": "no-cache",
  };
  return async ({ url }) => {
    const entry = await context.console.entry();
    return new Response(html(context, entry, context.options.public_url || url.origin), { headers });
  };
}

/** What the page is made of. A name has the hash of what is in it, so a browser never asks twice. */
export function assetRoute(context: TransportContext): HttpRoute {
  return {
    verb: "GET",
    path: `${ASSETS}:name`,
    describe: () => null,
    async handle({ request, params }) {
      const name = params["name"] ?? "";
      const encodings = (request.headers.get("accept-encoding") ?? "")
        .split(",")
        .map((each) => each.trim())
        .filter((each) => !/;\s*q=0(?:\.0*)?$/.test(each))
        .map((each) => each.replace(/;.*$/, ""));
      const found = await context.console.find(name, encodings);
      if (found === null) {
        throw new GatewayError("NOT_FOUND", "there is no such file: load the page again", {
          details: { kind: "path" },
        });
      }
      const headers = new Headers({
        "content-type": TYPES[name.slice(name.lastIndexOf(".") + 1)] ?? "application/octet-stream",
        "cache-control": "public, max-age=31536000, immutable",
        vary: "Accept-Encoding",
      });
      if (found.encoding !== null) headers.set("content-encoding", found.encoding);
      return new Response(found.body, { headers });
    },
  };
}

/** How one may come in, for the page to offer. */
function waysOf({ open, password, challenge }: TransportContext["options"]): string {
  if (open) return "open";
  return ["token", ...(password ? ["password"] : []), ...(challenge ? ["device"] : [])].join(" ");
}

type Entry = Awaited<ReturnType<TransportContext["console"]["entry"]>>;

function html({ options }: TransportContext, entry: Entry, origin: string): string {
  const { name, version } = options;
  const asset = (file: string): string => escape(ASSETS + file);
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content" />
    <meta name="color-scheme" content="light dark" />
    <meta name="agentbus-ways" content="${waysOf(options)}" />
    <meta name="agentbus-version" content="${escape(version)}" />
    <title>${escape(name)}</title>
    <link rel="icon" href="${asset(entry.icon)}" />
    <link rel="apple-touch-icon" href="${asset(entry.touch_icon)}" />
    <link rel="manifest" href="${asset(entry.manifest)}" />
    <link rel="stylesheet" href="${asset(entry.style)}" />
    <script type="module" src="${asset(entry.script)}"></script>
  </head>
  <body>
    <div id="console"><p class="splash" role="status">${escape(name)}</p></div>
    <noscript>${plain(options, origin)}</noscript>
  </body>
</html>
`;
}

function plain({ name, version, open, sockets, challenge }: TransportContext["options"], origin: string) {
  const credential = open ? "" : ` \\\n  -H "Authorization: Bearer $AGENTBUS_TOKEN"`;
  const chat = `curl -N ${origin}/api/v1/chat${credential} \\
  -H "Accept: text/event-stream" -H "Content-Type: application/json" \\
  -d '{"message":"Hello"}'`;
  const token = open ? "" : "<p>The token is in the file <code>token</code> of the data directory.</p>";
  // The QR code that a device shows leads here, with the code behind the address.
  const pairing = challenge
    ? `<h2>Let a device in</h2>
      <p>Compare the code it shows, then on the machine of this gateway:</p>
      <pre><code>agentbus device approve CODE</code></pre>`
    : "";
  const socket = sockets ? `<p>WebSocket: <code>${escape(origin.replace(/^http/, "ws"))}/ws</code></p>` : "";
  return `
    <main class="plain">
      <h1>${escape(name)}</h1>
      <p>Version ${escape(version)} is running. This page needs JavaScript; everything else does without.</p>
      <h2>Talk to it in a terminal</h2>
      <pre><code>agentbus chat</code></pre>
      <h2>Talk to it over HTTP</h2>
      <pre><code>${escape(chat)}</code></pre>
      ${token}
      ${pairing}
      <h2>Read on</h2>
      <p><a href="/docs">API documentation</a>, also <a href="/docs/json">as OpenAPI</a></p>
      ${socket}
      <p><a href="/status">Status</a></p>
    </main>
    `;
}

function escape(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
