import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { ask } from "../gateway/stack.ts";
import type { TestDevice } from "../support/device.ts";
import { newDevice } from "../support/device.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { ClusterNode } from "./nodes.ts";
import { startNodes, within } from "./nodes.ts";

setDefaultTimeout(60_000);

interface Challenge {
  readonly nonce: string;
  readonly server_id: string;
}

async function challenge({ url }: ClusterNode): Promise<Challenge> {
  const { status, json } = await ask(`${url}/api/v1/challenges`, "POST", { body: {} });
  expect(status).toBe(200);
  return json as Challenge;
}

/** What somebody sends who answers a challenge. */
function answer(device: TestDevice, given: Challenge) {
  return { client_id: "cli", device: device.prove(given) };
}

/** The status of a login with it. */
async function logIn({ url }: ClusterNode, body: ReturnType<typeof answer>): Promise<number> {
  return (await ask(`${url}/api/v1/auth_sessions`, "POST", { body })).status;
}

describe.skipIf(!hasPostgres)("devices that log in over REST, with several nodes", () => {
  test("a challenge of any node counts on every node, once", async () => {
    await using nodes = await startNodes({ count: 3, config: { auth: { mode: "device" } } });
    const all = [nodes.node(0), nodes.node(1), nodes.node(2)] as const;
    const [a, b, c] = all;
    const device = newDevice();
    await a.owner.call("device.register", {
      public_key: device.public_key,
      user: "ann",
      scopes: ["chat.read"],
    });
    // As behind a balancer that asks them in turn: the challenge of one, the proof at the next, once more at the third.
    for (const [from, to, again] of [
      [a, b, c],
      [b, c, a],
      [c, a, b],
      [a, a, b],
    ] as const) {
      const said = answer(device, await challenge(from));
      expect(await logIn(to, said)).toBe(201);
      for (const node of [again, to, from]) expect(await logIn(node, said)).toBe(401);
    }
    for (let round = 0; round < 5; round++) {
      const said = answer(device, await challenge(a));
      const statuses = await Promise.all([b, c, a, b, c, a].map((node) => logIn(node, said)));
      expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    }
    // One that nobody knows asks to be paired by it, once.
    const stranger = answer(newDevice(), await challenge(a));
    const told = await ask(`${b.url}/api/v1/auth_sessions`, "POST", { body: stranger });
    expect(told.json.error.details.kind).toBe("pairing");
    const again = await ask(`${c.url}/api/v1/auth_sessions`, "POST", { body: stranger });
    expect(again.json.error).toMatchObject({
      code: "UNAUTHORIZED",
      message: expect.stringContaining("used already"),
    });
    const rows = (await nodes.sql.unsafe(
      "SELECT count(*)::int AS n FROM agentbus.records WHERE collection = 'challenge' AND expires_at IS NOT NULL",
    )) as { n: number }[];
    expect(rows[0]?.n).toBe(4 + 5 + 1);
  });

  test("a node that is killed takes along neither what was used there nor what was not", async () => {
    await using nodes = await startNodes({ count: 2, config: { auth: { mode: "device" } } });
    const [a, b] = [nodes.node(0), nodes.node(1)];
    const device = newDevice();
    await a.owner.call("device.register", {
      public_key: device.public_key,
      user: "ann",
      scopes: ["chat.read"],
    });
    await within(
      async () => logIn(b, answer(device, await challenge(b))),
      (status) => status === 201,
    );
    const [used, unused] = [answer(device, await challenge(a)), answer(device, await challenge(a))];
    expect(await logIn(a, used)).toBe(201);
    await a.kill();
    expect(await logIn(b, used)).toBe(401);
    expect(await logIn(b, unused)).toBe(201);
  });
});
