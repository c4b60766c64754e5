import { expect, test } from "bun:test";
import { startGateway } from "../support/gateway-process.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";

async function freePort(): Promise<number> {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  const { port } = server;
  server.stop(true);
  return port;
}

test("two listeners are one gateway: what goes in through one comes out of the other", async () => {
  const [first, second] = [await freePort(), await freePort()];
  await using gateway = await startGateway({
    env: { AGENTBUS_SERVER_PORT: String(first), AGENTBUS_GATEWAY_BIND: `127.0.0.1:${second}` },
  });
  const headers = { authorization: `Bearer ${gateway.token}` };
  expect((await fetch(`http://127.0.0.1:${first}/health`)).status).toBe(200);
  expect((await fetch(`http://127.0.0.1:${second}/health`)).status).toBe(200);
  await using a = await openSocket(`ws://127.0.0.1:${first}/ws`, { headers });
  await using b = await openSocket(`ws://127.0.0.1:${second}/ws/`, { headers });
  await b.request("session.create", { session_id: "s" });
  await b.request("session.subscribe", { session_id: "s", after: 0 });
  await a.request("chat.send", { session_id: "s", message: "through the first" });
  await Promise.all([a.nextEvent("run.completed", 15_000), b.nextEvent("run.completed", 15_000)]);
  const texts = [a, b].map((socket) =>
    socket.frames.filter(({ json }) => json.event === "message.delta").map(({ raw }) => raw),
  );
  expect(texts[0]).toEqual(texts[1] ?? []);
  expect(texts[0]?.length).toBeGreaterThan(10);
});

test("gateway.enabled = false leaves HTTP up", async () => {
  await using gateway = await startGateway({ env: { AGENTBUS_GATEWAY_ENABLED: "false" } });
  expect((await requestUpgrade(gateway.ws_url, { authorization: `Bearer ${gateway.token}` })).status).toBe(
    404,
  );
  expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
});
