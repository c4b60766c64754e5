import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Person } from "../gateway/stack.ts";
import { ended, say } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { TestSocket } from "../support/ws-client.ts";
import type { Nodes } from "./nodes.ts";
import { startNodes, within } from "./nodes.ts";

setDefaultTimeout(120_000);
/** What is promised within a second may take five on a busy machine. */
const SOON_MS = 5_000;

interface Change {
  readonly head: number;
  readonly title: string;
  readonly active_run_id?: string;
  readonly approvals: number;
  readonly deleted?: boolean;
}

/** The next session.changed of a session that passes. */
async function changed(
  socket: TestSocket,
  session_id: string,
  passes: (change: Change) => boolean = () => true,
): Promise<Change> {
  const { json } = await socket.next(
    (frame) =>
      frame.json.event === "session.changed" &&
      frame.json.session_id === session_id &&
      passes(frame.json.payload),
    SOON_MS,
  );
  return json.payload;
}

describe.skipIf(!hasPostgres)("session.changed of sessions that another node has", () => {
  let nodes: Nodes;
  let a: Person;
  let b: Person;
  beforeAll(async () => {
    nodes = await startNodes({
      config: { tools: { builtin: ["time"], policy: { "*": "ask" }, unattended: "deny" } },
    });
    [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
    await within(
      () => b.call("client.list"),
      ({ incomplete }) => incomplete === undefined,
      20_000,
    );
  });
  afterAll(() => nodes[Symbol.asyncDispose]());

  test("is told to who does not follow them: made, changed, answering, deleted", async () => {
    await using there = await b.connect({});
    await a.call("session.create", { session_id: "made", title: "One" });
    expect(await changed(there, "made")).toMatchObject({ title: "One", head: 1, approvals: 0 });
    await a.call("session.update", { session_id: "made", title: "Two" });
    await changed(there, "made", ({ title }) => title === "Two");
    nodes.model.reply().text("so far").hang();
    const { run_id } = await a.call("chat.send", { session_id: "made", message: "go" });
    await changed(there, "made", ({ active_run_id }) => active_run_id === run_id);
    await a.call("chat.abort", { run_id });
    const { head } = await a.call("session.get", { session_id: "made" });
    await changed(there, "made", (change) => change.head === head && change.active_run_id === undefined);
    const { session_id: copy } = await a.call("session.fork", { session_id: "made" });
    await changed(there, copy);
    await a.call("session.delete", { session_id: "made" });
    expect(await changed(there, "made", ({ deleted }) => deleted === true)).toMatchObject({ title: "Two" });
    // Nothing comes after the end.
    await Bun.sleep(1_200);
    const all = there.frames.filter(
      ({ json }) => json.event === "session.changed" && json.session_id === "made",
    );
    expect(all.filter(({ json }) => json.payload.deleted === true)).toHaveLength(1);
    expect(all.at(-1)?.json.payload.deleted).toBe(true);
  });

  test("comes once a second and session at the most, with the latest state, and from one source where it is followed", async () => {
    await using there = await b.connect({});
    await using follows = await b.connect({});
    await a.call("session.create", { session_id: "busy" });
    await follows.request("session.subscribe", { session_id: "busy" });
    await changed(there, "busy");
    const began = Date.now();
    nodes.model.reply().tokens(100, { everyMs: 20 });
    const { run } = await say(a, { session_id: "busy", message: "go on" });
    expect(run.status).toBe("completed");
    const { head } = await a.call("session.get", { session_id: "busy" });
    await changed(there, "busy", (change) => change.head === head);
    const took = (Date.now() - began) / 1_000;
    const all = there.frames.filter(
      ({ json }) => json.event === "session.changed" && json.session_id === "busy",
    );
    expect(all.length).toBeLessThanOrEqual(Math.ceil(took) + 2);
    const heads = all.map(({ json }) => json.payload.head as number);
    expect(heads).toEqual(heads.toSorted((x, y) => x - y));
  });

  test("an approval is told, stands in the snapshot, and is answered at a node that has not the session", async () => {
    await using there = await b.connect({});
    nodes.model.reply().tool("time", {});
    nodes.model.reply().text("done");
    const { run_id } = await a.call("chat.send", { session_id: "asks", message: "what time is it?" });
    // Whoever could allow it is at the other node: it waits.
    await changed(there, "asks", ({ approvals }) => approvals === 1);
    const { snapshot } = await there.request("session.subscribe", { session_id: "asks" });
    const [approval] = snapshot.approvals;
    expect(approval).toMatchObject({ name: "time", run_id });
    const { approval_id } = approval;
    expect(
      await b.call("tool.approve", { session_id: "asks", approval_id, decision: "allow" }),
    ).toMatchObject({ approval: { approval_id, decision: "allow", by: "owner" } });
    await there.nextEvent("tool.approval_resolved", SOON_MS);
    expect(await ended(b, run_id)).toMatchObject({ status: "completed" });
    expect(nodes.model.requests.at(-1)?.body.messages.at(-1)).toMatchObject({ role: "tool" });
  });

  test("where nobody is connected at any node a call that asks is refused", async () => {
    nodes.model.reply().tool("time", {});
    nodes.model.reply().text("done");
    const { run } = await say(a, { session_id: "alone", message: "what time is it?" });
    expect(run.status).toBe("completed");
    expect(JSON.stringify(nodes.model.requests.at(-1)?.body.messages.at(-1))).toContain("nobody is there");
  });
});
