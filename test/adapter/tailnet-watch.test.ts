import { describe, expect, test } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import { openEvents } from "../support/sse-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { TailnetGateway } from "./tailnet.fixture.ts";
import { ADA, BOB, startTailnetGateway, tailnetClock } from "./tailnet.fixture.ts";

/** What becomes of the connections of peers that tailscaled says something else of later. */

describe("a connection of a peer", () => {
  /** A peer's socket and stream, and a socket that showed the token. */
  async function openAll(gateway: TailnetGateway) {
    await gateway.ask("POST", "/api/v1/sessions", { body: { session_id: "s" } });
    const peer = await openSocket(gateway.ws_url);
    await peer.request("connect", {});
    const shown = await openSocket(gateway.ws_url, { headers: { authorization: `Bearer ${gateway.token}` } });
    await shown.request("connect", {});
    const stream = await openEvents(`${gateway.url}/api/v1/sessions/s/events`);
    await stream.next(({ event }) => event === "session.synced");
    return { peer, shown, stream };
  }

  test.each([
    ["another login", BOB],
    ["nobody", null],
    ["a tagged machine", { login: "tagged-devices", tags: ["tag:x"] }],
  ])("who becomes %s loses what is open, within the minute an answer counts", async (_what, machine) => {
    const clock = tailnetClock();
    await using gateway = await startTailnetGateway({ clock });
    const { peer, shown, stream } = await openAll(gateway);
    gateway.become(machine);
    clock.advance(55_000);
    await Bun.sleep(20);
    expect(await peer.request("heartbeat")).toBeObject();
    clock.advance(10_000);
    expect((await peer.closed).code).toBe(4001);
    expect(peer.frames.at(-1)?.json.error).toMatchObject({ code: "UNAUTHORIZED" });
    await stream.rest().catch(() => []);
    // Who showed a credential is not a matter of the tailnet.
    expect(await shown.request("system.status")).toBeObject();
    await shown[Symbol.asyncDispose]();
  });

  test("a tailscaled that is away lets nobody in, says so once, and ends what is open after two minutes", async () => {
    const clock = tailnetClock();
    await using gateway = await startTailnetGateway({ clock });
    const { peer, shown } = await openAll(gateway);
    await gateway.tailscaled.stop();
    for (let i = 0; i < 3; i++) {
      const refused = await gateway.ask("GET", "/api/v1/sessions");
      expect([refused.status, refused.json.error.message]).toEqual([
        401,
        expect.stringContaining("agentbus doctor"),
      ]);
    }
    const told = gateway.lines.filter(({ message }) => message.startsWith("tailscaled does not say"));
    expect(told).toMatchObject([{ level: "warn", reason: "ENOENT" }]);
    for (let secs = 0; secs < 110; secs += 5) {
      clock.advance(5_000);
      await peer.request("heartbeat");
      await shown.request("heartbeat");
    }
    clock.advance(10_000);
    await eventually(
      () => {
        clock.advance(100);
        return peer.frames.at(-1)?.json;
      },
      (last) => last.error?.code === "UNAVAILABLE",
    );
    expect((await peer.closed).code).toBe(1013);
    expect(await shown.request("heartbeat")).toBeObject();
    await shown[Symbol.asyncDispose]();
    gateway.tailscaled.start();
    clock.advance(1_000);
    expect((await gateway.ask("GET", "/api/v1/sessions")).status).toBe(200);
  });

  test("who stays the same stays, and is asked about once a minute", async () => {
    const clock = tailnetClock();
    await using gateway = await startTailnetGateway({ clock, machine: ADA });
    const { peer, shown, stream } = await openAll(gateway);
    const { asked } = gateway.tailscaled;
    asked.length = 0;
    let minutes = 0;
    for (; minutes < 5 || asked.length < 6; minutes += 5 / 60) {
      clock.advance(5_000);
      await Promise.all([peer.request("heartbeat"), shown.request("heartbeat")]);
    }
    // Two connections of the peer; who showed a credential is no matter of the tailnet.
    expect(asked.length).toBeWithin(6, 2 * minutes + 1);
    expect(new Set(asked).size).toBe(2);
    stream.close();
    for (const socket of [peer, shown]) await socket[Symbol.asyncDispose]();
  });
});
