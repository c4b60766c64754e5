import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
  await owner.call("session.create", { session_id: "s" });
});
afterAll(() => stack[Symbol.asyncDispose]());

describe("a ticket", () => {
  const offer = (ticket: string): { protocols: string[] } => ({
    protocols: ["agentbus.v1", `agentbus.ticket.${ticket}`],
  });
  const fresh = async (): Promise<string> => (await owner.call("ticket.create")).ticket;

  test("lets in one upgrade as who asked for it, and is never echoed", async () => {
    const ticket = await fresh();
    await using socket = await openSocket(stack.gateway.ws_url, offer(ticket));
    expect(socket.protocol).toBe("agentbus.v1");
    expect(await socket.request("connect", {})).toMatchObject({ auth_info: { user: "owner" } });
    const again = await requestUpgrade(stack.gateway.ws_url, {
      "sec-websocket-protocol": `agentbus.v1, agentbus.ticket.${ticket}`,
    });
    expect([again.status, ((await again.json()) as { error: { code: string } }).error.code]).toEqual([
      401,
      "UNAUTHORIZED",
    ]);
    // Whatever is selected, the secret is not: neither first in line nor alone.
    const first = await openSocket(stack.gateway.ws_url, {
      protocols: [`agentbus.ticket.${await fresh()}`, "agentbus.v1"],
    });
    expect(first.protocol).toBe("agentbus.v1");
    first.close();
    const alone = await requestUpgrade(stack.gateway.ws_url, {
      "sec-websocket-protocol": `agentbus.ticket.${await fresh()}`,
    });
    expect([alone.status, alone.headers.get("sec-websocket-protocol")]).toEqual([400, null]);
  });

  test("lets in one stream", async () => {
    const ticket = await fresh();
    const url = `${stack.gateway.url}/api/v1/sessions/s/events?ticket=${ticket}`;
    const abort = new AbortController();
    const stream = await fetch(url, { signal: abort.signal });
    expect([stream.status, stream.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    abort.abort();
    expect((await fetch(url)).status).toBe(401);
    expect((await fetch(`${stack.gateway.url}/api/v1/sessions/s/events?ticket=agt_wrong`)).status).toBe(401);
  });

  test("beside another credential is one too many, and lasts 30 seconds", async () => {
    const { ticket, expires_at } = await owner.call("ticket.create");
    expect(expires_at - Date.now()).toBeWithin(25_000, 30_001);
    const upgrade = await requestUpgrade(stack.gateway.ws_url, {
      ...owner.bearer,
      "sec-websocket-protocol": `agentbus.v1, agentbus.ticket.${ticket}`,
    });
    expect([upgrade.status, await upgrade.json()]).toMatchObject([
      400,
      { error: { details: { kind: "credential" } } },
    ]);
    const stream = await owner.ask("GET", `/api/v1/sessions/s/events?ticket=${ticket}`);
    expect([stream.status, stream.json.error.details]).toEqual([400, { kind: "credential" }]);
    const two = `agentbus.v1, agentbus.ticket.${ticket}, agentbus.ticket.${await fresh()}`;
    expect((await requestUpgrade(stack.gateway.ws_url, { "sec-websocket-protocol": two })).status).toBe(400);
    // None of that used it.
    await using socket = await openSocket(stack.gateway.ws_url, offer(ticket));
    await using other = await stack.owner.connect();
    expect(await Promise.all([socket.request("heartbeat"), other.request("heartbeat")])).toHaveLength(2);
  });

  test("too old, it is refused; too many at once are RATE_LIMITED", async () => {
    await using own = await startStack({ config: { limits: { ticket_ttl_ms: 60, tickets: 2 } } });
    const { ticket } = await own.owner.call("ticket.create");
    await own.owner.call("ticket.create");
    expect(await refusal(own.owner.call("ticket.create"))).toMatchObject({
      code: "RATE_LIMITED",
      retry_after_ms: expect.any(Number),
    });
    for (let made = null; made === null;) made = await own.owner.call("ticket.create").catch(() => null);
    const upgrade = await requestUpgrade(own.gateway.ws_url, {
      "sec-websocket-protocol": `agentbus.v1, agentbus.ticket.${ticket}`,
    });
    expect(upgrade.status).toBe(401);
  });
});
