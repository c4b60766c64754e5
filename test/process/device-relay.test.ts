import type { Server, ServerWebSocket } from "bun";
import { expect, test } from "bun:test";
import type { ResultFor } from "../../src/client/methods.ts";
import { gatewayMachine, machine, serveOn } from "./device.fixture.ts";

const LONG_MS = 60_000;

interface Relayed {
  readonly upstream: WebSocket;
}

/** A gateway of somebody else's that passes every word on to another one, and keeps what it hears. */
function startRelay(target: string): Server<Relayed> & AsyncDisposable & { readonly heard: string[] } {
  const heard: string[] = [];
  const server = Bun.serve<Relayed>({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request, listener) {
      const upstream = new WebSocket(`${target.replace("http", "ws")}/ws`, "agentbus.v1.challenge");
      return listener.upgrade(request, { data: { upstream } }) ? undefined : new Response("no");
    },
    websocket: {
      open(socket: ServerWebSocket<Relayed>) {
        const { upstream } = socket.data;
        upstream.addEventListener("message", ({ data }) => {
          heard.push(String(data));
          socket.send(String(data));
        });
        upstream.addEventListener("close", ({ code, reason }) =>
          socket.close(code === 1006 ? 1011 : code, reason),
        );
      },
      message({ data: { upstream } }, text) {
        if (upstream.readyState === WebSocket.OPEN) return void upstream.send(String(text));
        upstream.addEventListener("open", () => upstream.send(String(text)));
        return undefined;
      },
      close: (socket) => socket.data.upstream.close(),
    },
  });
  return Object.assign(server, { heard, [Symbol.asyncDispose]: () => server.stop(true) });
}

test(
  "a gateway that passes on the challenge of the one we are paired with is not let in there as us",
  async () => {
    using home = gatewayMachine();
    using laptop = machine();
    await using gateway = await serveOn(home);
    await using pairing = laptop.start("device", "pair", "--json", "--url", gateway.url);
    const { code } = JSON.parse(await pairing.line(0)) as { code: string };
    const { device_id } = await home.json<{ device_id: string }>("device", "approve", code, "--json");
    expect((await pairing.ended()).code).toBe(0);

    await using relay = startRelay(gateway.url);
    const other = `http://127.0.0.1:${relay.port}`;
    expect((await laptop.run("chat", "hello", "--url", other)).code).toBe(4);
    await using asking = laptop.start("device", "pair", "--json", "--url", other);
    await asking.line(0);
    const { pairing_requests } = await home.json<ResultFor<"device.list">>("device", "list", "--json");
    expect(pairing_requests.map((each) => each.device_id === device_id)).toEqual([false]);
    expect(relay.heard.some((text) => text.includes("connect.challenge"))).toBe(true);
    expect(relay.heard.filter((text) => text.includes('"ok":true'))).toEqual([]);
  },
  LONG_MS,
);
