/** What a proxy does to what passes through it on the way to the client; nothing: it is a plain one. */
export interface Bend {
  /** Makes what one socket's frames become, one after the other. */
  frames?(): (text: string) => readonly string[];
  /** What the bytes of an event stream become. */
  stream?(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> | Promise<string>;
}

interface Link {
  far: WebSocket | null;
  readonly waiting: string[];
}

/** A proxy for sockets and HTTP before a gateway. */
export function startBentProxy(gateway: string, bend: Bend): { readonly url: string } & AsyncDisposable {
  const server = Bun.serve<Link>({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    async fetch(request, self) {
      const { pathname, search } = new URL(request.url);
      if (request.headers.get("upgrade") === "websocket") {
        return self.upgrade(request, { data: { far: null, waiting: [] } })
          ? undefined
          : new Response("no", { status: 400 });
      }
      const headers = new Headers(request.headers);
      headers.delete("host");
      const answer = await fetch(`${gateway}${pathname}${search}`, {
        method: request.method,
        headers,
        signal: request.signal,
        ...(request.body !== null && { body: await request.arrayBuffer() }),
      });
      const { status } = answer;
      const passed = new Headers(answer.headers);
      passed.delete("content-length");
      const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream") === true;
      if (!isStream || answer.body === null || bend.stream === undefined)
        return new Response(answer.body, { status, headers: passed });
      return new Response(await bend.stream(answer.body), { status, headers: passed });
    },
    websocket: {
      open(near) {
        const change = bend.frames?.() ?? ((text: string) => [text]);
        const far = new WebSocket(`${gateway.replace("http", "ws")}/ws`);
        near.data.far = far;
        far.addEventListener("open", () => near.data.waiting.splice(0).forEach((text) => far.send(text)));
        far.addEventListener("message", ({ data }) => {
          for (const text of change(String(data))) near.send(text);
        });
        far.addEventListener("close", ({ code, reason }) => near.close(code, reason));
        far.addEventListener("error", () => near.close(1011));
      },
      message(near, data) {
        const { far, waiting } = near.data;
        if (far?.readyState === WebSocket.OPEN) far.send(String(data));
        else waiting.push(String(data));
      },
      close(near) {
        near.data.far?.close();
      },
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    async [Symbol.asyncDispose]() {
      await server.stop(true);
    },
  };
}
