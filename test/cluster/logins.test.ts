import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { ask, refusal } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { ClusterNode, Nodes } from "./nodes.ts";
import { startNodes, within } from "./nodes.ts";

setDefaultTimeout(60_000);
let nodes: Nodes;
let a: ClusterNode;
let b: ClusterNode;
beforeAll(async () => {
  if (!hasPostgres) return;
  nodes = await startNodes({ count: 2, config: { budgets: { users: { ada: { day_tokens: 100 } } } } });
  [a, b] = [nodes.node(0), nodes.node(1)];
});
afterAll(async () => nodes?.[Symbol.asyncDispose]());

/** The status of a request for events with a ticket. */
async function enter(node: ClusterNode, session_id: string, ticket: string): Promise<number> {
  const abort = new AbortController();
  const response = await fetch(`${node.url}/api/v1/sessions/${session_id}/events?ticket=${ticket}`, {
    headers: { accept: "text/event-stream" },
    signal: abort.signal,
  });
  abort.abort();
  return response.status;
}

describe.skipIf(!hasPostgres)("logins at several nodes", () => {
  test("a ticket of one node is taken by another, once, however many show it at once", async () => {
    const { token, token_id } = await a.owner.call("token.create", {
      name: "t",
      user: "ann",
      role: "viewer",
    });
    const { session_id } = await a.owner.call("session.create", { session_id: "watched" });
    await a.owner.call("session.share", { session_id, user: "ann", role: "viewer" });
    const [row] = (await nodes.sql.unsafe("SELECT id FROM agentbus.sessions WHERE name = 'watched'")) as {
      id: string;
    }[];
    const id = row?.id ?? "";
    for (let round = 0; round < 5; round++) {
      const { ticket } = await a.person(token).call("ticket.create");
      const all = await Promise.all([b, a, b, a].map((node) => enter(node, id, ticket)));
      expect(all.filter((status) => status === 200)).toHaveLength(1);
    }
    const { ticket } = await b.person(token).call("ticket.create");
    await b.owner.call("token.rotate", { token_id });
    // Within a second: what it was made with has another secret now.
    await Bun.sleep(1_000);
    expect(await enter(a, id, ticket)).not.toBe(200);
    const stored = (await nodes.sql.unsafe(
      "SELECT data || id AS text FROM agentbus.records WHERE collection = 'ticket'",
    )) as { text: string }[];
    for (const { text } of stored) expect(text).not.toContain(ticket.slice(4));
  });

  test("wrong tokens at one node count at the other, and a right one is let in", async () => {
    const guess = (node: ClusterNode) =>
      ask(`${node.url}/api/v1/sessions`, "GET", {
        headers: { authorization: `Bearer agb_${crypto.randomUUID().replaceAll("-", "").padEnd(43, "x")}` },
      });
    for (let i = 0; i < 10; i++) await guess(a);
    let tries = 0;
    await within(
      async () => {
        tries++;
        return (await guess(b)).status;
      },
      (status) => status === 429,
    );
    // By itself it would have looked at ten.
    expect(tries).toBeLessThan(8);
    expect(await b.owner.call("session.list")).toMatchObject({ sessions: expect.any(Array) });
  });

  test("a node that is killed and started again lets nobody begin anew, whichever node was guessed at", async () => {
    const guess = async (node: ClusterNode): Promise<number> => {
      const authorization = `Bearer agb_${crypto.randomUUID().replaceAll("-", "").padEnd(43, "x")}`;
      return (await ask(`${node.url}/api/v1/sessions`, "GET", { headers: { authorization } })).status;
    };
    for (let i = 0; i < 60; i++) await guess(i % 2 === 0 ? a : b);
    await within(
      async () =>
        (await nodes.sql.unsafe(
          "SELECT 1 FROM agentbus.records WHERE collection = 'throttle' AND id = '127.0.0.1'",
        )) as unknown[],
      (rows) => rows.length === 1,
      5_000,
    );
    await b.kill();
    await b.restart();
    const statuses: number[] = [];
    for (let i = 0; i < 10; i++) statuses.push(await guess(b));
    // One that forgot would look at all ten. What is forgotten meanwhile is one a minute.
    expect(statuses.filter((status) => status !== 429).length).toBeLessThanOrEqual(2);
    expect(await b.owner.call("session.list")).toMatchObject({ sessions: expect.any(Array) });
  });

  test("what a user spends at one node counts at the other", async () => {
    const { token } = await a.owner.call("token.create", { name: "t", user: "ada" });
    const spend = async (node: ClusterNode, session_id: string): Promise<void> => {
      nodes.model.reply().text("ok").usage({ prompt_tokens: 40, completion_tokens: 20 });
      const { run_id } = await node.person(token).call("chat.send", { session_id, message: "hello" });
      await node.person(token).call("run.wait", { run_id, timeout_ms: 30_000 });
    };
    await spend(a, "one");
    await spend(b, "two");
    await Bun.sleep(1_000);
    const refused = await refusal(a.person(token).call("chat.send", { session_id: "one", message: "more" }));
    expect(refused).toMatchObject({ code: "CONFLICT", details: { kind: "budget", spent: 120 } });
  });
});
