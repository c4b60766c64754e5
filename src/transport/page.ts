import type { TransportContext } from "./context.ts";
import type { Visit } from "./rest-reply.ts";

const STYLE = `
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --faint: #5c6370; --box: #f2f3f5; --link: #0b57d0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --paper: #16181b; --faint: #9aa2ad; --box: #23262b; --link: #8ab4f8; }
}
body { margin: 0 auto; max-width: 44rem; padding: 3rem 1.25rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.75rem; }
h2 { margin: 2rem 0 0.5rem; font-size: 1.1rem; }
p { margin: 0.25rem 0; }
.faint { color: var(--faint); }
a { color: var(--link); }
pre { margin: 0.5rem 0; padding: 0.9rem 1rem; overflow-x: auto; background: var(--box); border-radius: 0.4rem;
  font: 0.875rem/1.5 ui-monospace, monospace; }
`;

/** `GET /`: what this is and how to talk to it. */
export function frontPage(context: TransportContext): (visit: Visit) => Response {
  const digest = new Bun.CryptoHasher("sha256").update(STYLE).digest("base64");
  const csp = `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  const headers = { "content-type": "text/html; charset=utf-8", "content-security-policy": csp };
  return ({ url }) => new Response(html(context, context.options.public_url || url.origin), { headers });
}

function html(context: TransportContext, origin: string): string {
  const { name, version, open, sockets, challenge } = context.options;
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
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>${escape(name)}</title>
    <style>${STYLE}</style>
  </head>
  <body>
    <main>
      <h1>${escape(name)}</h1>
      <p class="faint">Version ${escape(version)} is running.</p>
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
  </body>
</html>
`;
}

function escape(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
