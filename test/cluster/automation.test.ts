import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readMetrics } from "../support/metrics.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { Receiver } from "../support/webhook-receiver.ts";
import { isSigned, startReceiver } from "../support/webhook-receiver.ts";
import type { ClusterNode, Nodes } from "./nodes.ts";
import { startNodes, TAKEOVER_MS, within } from "./nodes.ts";

setDefaultTimeout(120_000);
let nodes: Nodes;
let receiver: Receiver;
beforeAll(async () => {
  if (!hasPostgres) return;
  receiver = startReceiver();
  nodes = await startNodes({ count: 2, config: { webhooks: { allow: [receiver.host] } } });
});
afterAll(async () => {
  await nodes?.[Symbol.asyncDispose]();
  await receiver?.[Symbol.asyncDispose]();
});

/** The node that does what is done once, and the other. */
async function roles(): Promise<{ leader: ClusterNode; other: ClusterNode }> {
  const [row] = (await nodes.sql.unsafe(
    `SELECT n.name FROM agentbus.meta AS m JOIN agentbus.nodes AS n ON n.boot = m.value
     WHERE m.name = 'leader' AND n.lease_until > clock_timestamp()`,
  )) as { name: string }[];
  const leader = nodes.all.find(({ name }) => name === row?.name);
  const other = nodes.all.find(({ name }) => name !== row?.name);
  if (leader === undefined || other === undefined) throw new Error("nobody leads");
  return { leader, other };
}

async function say(node: ClusterNode, session_id: string, message: string): Promise<void> {
  nodes.model.reply().text("yes");
  const { run_id } = await node.owner.call("chat.send", { session_id, message });
  await node.owner.call("run.wait", { run_id, timeout_ms: 30_000 });
}

/** Since when a receiver takes nothing. */
async function failingOf({ owner }: ClusterNode, webhook_id: string): Promise<number> {
  const told = async (): Promise<number | undefined> => {
    const { webhooks } = await owner.call("webhook.list");
    return webhooks.find((each: { webhook_id: string }) => each.webhook_id === webhook_id)?.failing_since;
  };
  return (await within(told, (since) => since !== undefined)) ?? 0;
}

/** What was delivered: what is sent again, as to a receiver that answers too late, has the same id. */
function texts(): string[] {
  const once = new Map(receiver.got.map(({ id, body }) => [id, body.data.payload.message.content as string]));
  return [...once.values()].toSorted();
}
const delivered = (count: number): Promise<string[]> => within(texts, ({ length }) => length >= count, 4_000);

describe.skipIf(!hasPostgres)("what is set up at one node", () => {
  test("is delivered once whichever node it happened on, signed with the secret of whichever made it", async () => {
    const { leader, other } = await roles();
    for (const [at, maker] of [other, leader].entries()) {
      receiver.got.length = 0;
      const made = await maker.owner.call("webhook.create", {
        url: receiver.url,
        types: ["message.created"],
      });
      // Everybody knows of it by now.
      for (const { owner } of nodes.all)
        await within(
          () => owner.call("webhook.list"),
          ({ webhooks }) =>
            webhooks.some(({ webhook_id }: { webhook_id: string }) => webhook_id === made.webhook_id),
        );
      const said = Array.from({ length: 6 }, (_, i) => `round ${at}, ${i}`);
      for (const [i, text] of said.entries())
        await say(i % 2 === 0 ? other : leader, `s${i % 3}-${at}`, text);
      expect(await delivered(said.length)).toEqual(said.toSorted());
      for (const received of receiver.got) expect(isSigned(received, made.secret)).toBe(true);
      // What everybody has is owed to nobody, and the next message is owed again.
      await within(
        async () =>
          (await nodes.sql.unsafe(
            "SELECT id FROM agentbus.records WHERE collection = 'webhook_owed'",
          )) as unknown[],
        (rows) => rows.length === 0,
        6_000,
      );
      await say(other, `s0-${at}`, "one more");
      expect(await delivered(said.length + 1)).toEqual([...said, "one more"].toSorted());
      await other.owner.call("webhook.delete", { webhook_id: made.webhook_id });
    }
  });

  test("comes in at another node, with the secret it was made with", async () => {
    const { leader, other } = await roles();
    const hook = { name: "build", session_id: "builds", template: "built {{body.what}}" };
    const { secret } = await leader.owner.call("hook.create", { ...hook, verify: "standard" });
    const body = JSON.stringify({ what: "it" });
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    const signature = new Bun.CryptoHasher("sha256", key)
      .update(`msg_1.${timestamp}.${body}`)
      .digest("base64");
    nodes.model.reply().text("ok");
    const sent = await within(
      () =>
        fetch(`${other.url}/api/v1/hooks/build`, {
          method: "POST",
          body,
          headers: {
            "content-type": "application/json",
            "webhook-id": "msg_1",
            "webhook-timestamp": timestamp,
            "webhook-signature": `v1,${signature}`,
          },
        }),
      ({ status }) => status < 300,
    );
    expect(sent.status).toBeLessThan(300);
  });

  test("how deliveries go is told the same by every node, and what is sent by hand at one counts at the other", async () => {
    const { leader, other } = await roles();
    receiver.otherwise = 503;
    const { webhook_id } = await other.owner.call("webhook.create", {
      url: receiver.url,
      types: ["message.created"],
    });
    await within(
      () => leader.owner.call("webhook.list"),
      ({ webhooks }) => webhooks.some((each: { webhook_id: string }) => each.webhook_id === webhook_id),
    );
    const told = async ({ owner }: ClusterNode) => {
      const { waiting_sessions } = await owner.call("webhook.deliveries", { webhook_id });
      const { webhooks } = await owner.call("webhook.list");
      const own = webhooks.find((each: { webhook_id: string }) => each.webhook_id === webhook_id);
      return { waiting_sessions, isFailing: own.failing_since !== undefined };
    };
    for (const [at, node] of [other, leader, other].entries()) await say(node, `waits-${at}`, "hello");
    for (const node of [leader, other]) {
      await within(
        () => told(node),
        ({ waiting_sessions, isFailing }) => waiting_sessions === 3 && isFailing,
        4_000,
      );
      await within(
        () => node.owner.call("webhook.update", { webhook_id, name: `by ${node.name}` }),
        ({ failing_since }) => failing_since !== undefined,
      );
    }
    // Each is counted once, whichever node it was made at.
    const counted = async (series: string): Promise<number> => {
      const all = await Promise.all(nodes.all.map(({ owner }) => owner.ask("GET", "/metrics")));
      return all.reduce((sum, { text }) => sum + (readMetrics(text).get(series) ?? 0), 0);
    };
    expect(await counted('agentbus_webhooks{state="failing"}')).toBe(1);
    expect(await counted('agentbus_webhooks{state="on"}')).toBe(0);
    await within(
      () => counted("agentbus_webhook_owed_sessions"),
      (sessions) => sessions === 3,
    );
    receiver.otherwise = 204;
    expect(await other.owner.call("webhook.test", { webhook_id })).toMatchObject({ ok: true });
    for (const node of [leader, other])
      await within(
        () => told(node),
        ({ isFailing }) => !isFailing,
      );
    await other.owner.call("webhook.delete", { webhook_id });
  });

  test("is said once at its moment, and by the other node when the one that leads is gone", async () => {
    const { leader, other } = await roles();
    receiver.otherwise = 503;
    const { webhook_id } = await other.owner.call("webhook.create", {
      url: receiver.url,
      types: ["message.created"],
    });
    const due = Date.now() + 1_500;
    const ids: string[] = [];
    for (let i = 0; i < 10; i++) {
      nodes.model.reply().text("ok");
      const at = due + (i < 5 ? i * 100 : 4_000 + i * 100);
      const { schedule_id } = await other.owner.call("schedule.create", {
        at,
        message: `moment ${i}`,
        session_id: `due-${i % 2}`,
        missed: "all",
        overlap: "send",
      });
      ids.push(schedule_id);
    }
    await within(
      async () => (await other.owner.call("schedule.list")).schedules as { last?: unknown }[],
      (list) => list.filter(({ last }) => last !== undefined).length >= 5,
      4_000,
    );
    const failing = await failingOf(other, webhook_id);
    // Once it has failed again it is in the store.
    await within(
      async () =>
        (await nodes.sql.unsafe(
          "SELECT data FROM agentbus.records WHERE collection = 'webhook'",
        )) as object[],
      (rows) => JSON.stringify(rows).includes(`${failing}`),
      4_000,
    );
    await leader.kill();
    const list = await within(
      async () =>
        (await other.owner.call("schedule.list")).schedules as {
          schedule_id: string;
          last?: { status: string };
        }[],
      (all) => ids.every((id) => all.find(({ schedule_id }) => schedule_id === id)?.last !== undefined),
      TAKEOVER_MS / 5,
    );
    expect(list.map(({ last }) => last?.status)).toEqual(ids.map(() => "sent"));
    // Since when a receiver fails is told, and counted, as before.
    expect(await failingOf(other, webhook_id)).toBe(failing);
    receiver.otherwise = 204;
    await other.owner.call("webhook.delete", { webhook_id });
    await leader.restart();
    const said: string[] = [];
    for (const session_id of ["due-0", "due-1"]) {
      const { messages } = await leader.owner.call("chat.history", { session_id, limit: 100 });
      for (const { role, content } of messages) if (role === "user") said.push(content);
    }
    expect(said.toSorted()).toEqual(ids.map((_, i) => `moment ${i}`));
  });
});

describe.skipIf(!hasPostgres)("the key of the nodes", () => {
  test("is in the database, and in no data directory", async () => {
    const [row] = (await nodes.sql.unsafe("SELECT value FROM agentbus.meta WHERE name = 'secrets_key'")) as {
      value: string;
    }[];
    expect(Buffer.from(row?.value ?? "", "base64url")).toHaveLength(32);
    for (const { gateway } of nodes.all)
      expect(existsSync(join(gateway.data_dir, "secrets.key"))).toBe(false);
  });

  test("is in a file where they say so", async () => {
    const file = join(nodes.node(0).gateway.data_dir, "shared.key");
    const config = { cluster: { key_file: file } };
    const refused = await startNodes({ count: 1, config }).then(
      () => "started",
      (error: Error) => error.message,
    );
    expect(refused).toContain("cluster.key_file");
    writeFileSync(file, `${Buffer.alloc(32, 7).toString("base64")}\n`);
    await using others = await startNodes({ count: 1, config });
    const rows = (await others.sql.unsafe(
      "SELECT value FROM agentbus.meta WHERE name = 'secrets_key'",
    )) as unknown[];
    expect(rows).toHaveLength(0);
  });
});
