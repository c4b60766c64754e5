import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Connection } from "../../src/client/connection.ts";
import type { ClientOptions } from "../../src/client/options.ts";
import type { PageScope } from "../../src/client/page.ts";
import { Pulse } from "../../src/client/pulse.ts";
import type { StubGateway } from "../support/stub-gateway.ts";
import { startStub, until } from "../support/stub-gateway.ts";

/** A pulse whose clock is turned by hand: looks once a second. Answers when it asked and when it gave up. */
function play(seconds: number, expecting: (at: number) => boolean, heard: (at: number) => boolean): string[] {
  const story: string[] = [];
  let now = 0;
  const pulse = new Pulse({
    quiet_ms: 30_000,
    expecting: () => expecting(now / 1_000),
    ask: () => void story.push(`asks at ${now / 1_000}`),
    dead: () => void story.push(`dead at ${now / 1_000}`),
    now: () => now,
  });
  for (let at = 1; at <= seconds; at++) {
    now = at * 1_000;
    if (heard(at)) pulse.heard();
    if (!story.at(-1)?.startsWith("dead")) pulse.look();
  }
  pulse.stop();
  return story;
}

describe("a link on which nothing comes", () => {
  test("is given up within ten seconds while something is expected", () => {
    expect(
      play(
        20,
        () => true,
        () => false,
      ),
    ).toEqual(["asks at 3", "dead at 7"]);
    // A run begins when it has been quiet for long.
    expect(
      play(
        40,
        (at) => at > 20,
        () => false,
      ),
    ).toEqual(["asks at 21", "dead at 25"]);
  });

  test("is asked once in a heartbeat where nothing is", () => {
    expect(
      play(
        70,
        () => false,
        () => false,
      ),
    ).toEqual(["asks at 30", "dead at 34"]);
    expect(
      play(
        70,
        () => false,
        (at) => at === 32,
      ),
    ).toEqual(["asks at 30", "asks at 62", "dead at 66"]);
  });

  test("is left alone as long as something comes, and when it answers", () => {
    expect(
      play(
        60,
        () => true,
        (at) => at % 2 === 0,
      ),
    ).toEqual([]);
    expect(
      play(
        10,
        () => true,
        (at) => at === 4 || at === 8,
      ),
    ).toEqual(["asks at 3", "asks at 7"]);
  });
});

let stub: StubGateway;
let connections: Connection[] = [];

/** A window: events are sent to it by hand. */
class Scope extends EventTarget implements PageScope {
  readonly document = Object.assign(new EventTarget(), { visibilityState: "hidden" });
}

beforeEach(() => {
  stub = startStub();
  stub.answers["heartbeat"] = ({ ok }) => ok({ ts: 1 });
});
afterEach(async () => {
  for (const connection of connections) connection.disconnect();
  connections = [];
  await stub.stop();
});

async function connect(options: Partial<ClientOptions> = {}, scope = new Scope()) {
  const how = { url: stub.url, random: () => 0, transport: "websocket" as const, ...options };
  const connection = new Connection(how, scope);
  connections.push(connection);
  await connection.connect();
  return { connection, scope };
}

const beats = (): number =>
  stub.peers.flatMap((peer) => peer.requests.filter(({ method }) => method === "heartbeat")).length;

describe("a page", () => {
  test("asks for a sign of life when it becomes visible, and when the network is back", async () => {
    const { scope } = await connect();
    scope.document.dispatchEvent(new Event("visibilitychange"));
    expect(beats()).toBe(0);
    scope.document.visibilityState = "visible";
    scope.document.dispatchEvent(new Event("visibilitychange"));
    await until("asked", () => beats() === 1);
    // Not again before the answer.
    await until("answered", () => {
      scope.dispatchEvent(new Event("online"));
      return beats() > 1;
    });
  });

  test("comes back at once when the network does, however long it would have waited", async () => {
    const { connection, scope } = await connect({ random: () => 0.999, reconnect_delay: 1_000 });
    stub.refusing = true;
    stub.peers[0]?.drop();
    const waits: number[] = [];
    connection.on("state", ({ retry_in_ms }: { retry_in_ms?: number }) => void waits.push(retry_in_ms ?? -1));
    await until("a long wait", () => (waits.at(-1) ?? 0) > 20_000);
    stub.refusing = false;
    scope.dispatchEvent(new Event("online"));
    await until("connected", () => connection.state === "connected");
  });

  test("that had given up tries again when the network is back, but not after disconnect()", async () => {
    const { connection, scope } = await connect({ max_reconnect_attempts: 2 });
    stub.refusing = true;
    stub.peers[0]?.drop();
    await until("given up", () => connection.state === "closed");
    stub.refusing = false;
    scope.dispatchEvent(new Event("online"));
    await until("connected", () => connection.state === "connected");
    connection.disconnect();
    scope.dispatchEvent(new Event("online"));
    expect(connection.state).toBe("closed");
  });
});
