import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { ended, isEnd, log, refusal, say, typesOf } from "../gateway/stack.ts";
import { agentbus } from "../support/executable.ts";
import { hasPostgres } from "../support/postgres.ts";
import { startWatcher } from "../support/watcher.ts";
import { startNodes, TAKEOVER_MS, within } from "./nodes.ts";

setDefaultTimeout(120_000);

/** What a log must be: whole, in order, each event once. */
function isWhole(frames: readonly { readonly seq: number }[]): boolean {
  return frames.every(({ seq }, at) => at === 0 || seq === (frames[at - 1]?.seq ?? 0) + 1);
}

describe.skipIf(!hasPostgres)("any node serves any session", () => {
  test("what one node writes is followed at another while it is written", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
    await say(a, { session_id: "talk", message: "first" });
    await using there = await b.connect({});
    const opened = await there.request("session.subscribe", { session_id: "talk" });
    expect(opened).toMatchObject({ mode: "snapshot" });
    expect(opened.snapshot.messages).toHaveLength(2);
    nodes.model.reply().tokens(30, { everyMs: 20 });
    const { run_id } = await a.call("chat.send", { session_id: "talk", message: "second" });
    await there.next(({ json }) => json.run_id === run_id && isEnd(json), 15_000);
    const frames = log(there, "talk");
    expect(isWhole(frames)).toBe(true);
    expect(frames[0]?.seq).toBe(opened.from + 1);
    expect(typesOf(frames).filter((type) => type === "message.delta").length).toBeGreaterThan(3);
    expect(frames.at(-1)).toMatchObject({ event: "run.completed" });
  });

  test("a message is sent through a node that has not the session, and its sender follows the answer there", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
    await say(a, { session_id: "talk", message: "first" });
    await using there = await b.connect({});
    const sent = await there.request("chat.send", { session_id: "talk", message: "second" });
    expect(sent).toMatchObject({
      session_id: "talk",
      status: "started",
      subscribed: true,
    });
    await there.next(({ json }) => json.run_id === sent.run_id && isEnd(json), 15_000);
    const frames = log(there, "talk");
    expect(frames[0]).toMatchObject({ seq: sent.from + 1, event: "message.created" });
    expect(frames[0]?.payload.message).toMatchObject({ message_id: sent.message_id, content: "second" });
    expect(isWhole(frames)).toBe(true);
    expect(nodes.model.requests).toHaveLength(2);
    // Over HTTP, which waits for an answer that another node writes.
    const answer = await b.ask("POST", "/api/v1/chat", {
      body: { session_id: "talk", message: "third", wait: true },
    });
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ role: "assistant", status: "complete" });
    const [here, elsewhere] = [
      await a.call("chat.history", { session_id: "talk" }),
      await b.call("chat.history", { session_id: "talk" }),
    ];
    expect(elsewhere).toEqual(here);
    expect(here.messages).toHaveLength(6);
  });

  test("what is sent twice with one key is done once, whichever nodes it is sent through", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
    await say(a, { session_id: "talk", message: "first" });
    const again = { session_id: "talk", message: "second", idempotency_key: "once" };
    const [one, two, three] = await Promise.all([
      b.call("chat.send", again),
      b.call("chat.send", again),
      a.call("chat.send", again),
    ]);
    expect(two.run_id).toBe(one.run_id);
    expect(three.run_id).toBe(one.run_id);
    await ended(b, one.run_id);
    expect((await b.call("chat.history", { session_id: "talk" })).messages).toHaveLength(4);
  });

  test("messages keep the order in which one connection sends them", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
    await a.call("session.create", { session_id: "talk" });
    await using there = await b.connect({});
    const said = Array.from({ length: 12 }, (_, at) => `message ${at}`);
    const sends = said.map((content) =>
      there.request("chat.inject", { session_id: "talk", role: "user", content }),
    );
    const seqs = (await Promise.all(sends)).map(({ seq }) => seq as number);
    expect(seqs).toEqual(seqs.toSorted((x, y) => x - y));
    const { messages } = await a.call("chat.history", { session_id: "talk" });
    expect(messages.map(({ content }: { content: string }) => content)).toEqual(said);
  });

  test("a run is ended, a session changed and deleted through another node", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
    nodes.model.reply().text("so far").hang();
    await using here = await a.connect({});
    const { run_id } = await here.request("chat.send", { session_id: "talk", message: "first" });
    await here.nextEvent("message.delta");
    expect(await b.call("chat.abort", { run_id })).toMatchObject({ run_ids: [run_id], status: "aborted" });
    expect(await ended(a, run_id)).toMatchObject({ status: "aborted" });
    expect(await b.call("session.update", { session_id: "talk", title: "Named there" })).toMatchObject({
      title: "Named there",
    });
    await within(
      () => a.call("session.get", { session_id: "talk" }),
      ({ title }) => title === "Named there",
    );
    await using there = await b.connect({});
    await there.request("session.subscribe", { session_id: "talk" });
    await a.call("session.delete", { session_id: "talk" });
    const { json } = await there.nextEvent("session.unsubscribed");
    expect(json.payload).toMatchObject({ reason: "deleted" });
    expect(await refusal(b.call("chat.send", { session_id: "talk", message: "x" }))).toMatchObject({
      code: "GONE",
    });
    expect(await refusal(b.call("session.delete", { session_id: "talk" }))).toMatchObject({ code: "GONE" });
  });

  test("doctor says in what the nodes differ, and not what secrets they have", async () => {
    await using nodes = await startNodes({
      configOf: (at) => ({ auth: { session_ttl_secs: 3_600 + at }, log: { content: at === 1 } }),
    });
    const { gateway } = nodes.node(0);
    const doctor = async (): Promise<string | undefined> => {
      const { out } = await agentbus(["doctor", "--json", "--config", "agentbus.toml"], {
        cwd: join(gateway.data_dir, ".."),
      });
      const { findings } = JSON.parse(out) as { findings: { check: string; finding: string }[] };
      return findings.find(({ check, finding }) => check === "database" && finding.includes("differ"))
        ?.finding;
    };
    expect(await within(doctor, (finding) => finding !== undefined, 5_000)).toMatch(
      /nodes: a, b;.* its nodes differ in \[auth\]$/,
    );
  });

  test("a user is deleted whose sessions another node has: what runs there ends, and all of it goes or is handed on", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    const { token } = await a.owner.call("token.create", { name: "guest", user: "guest", role: "user" });
    const guest = b.person(token);
    await say(guest, { session_id: "quiet", message: "first" });
    nodes.model.reply().text("so far").hang();
    const { run_id } = await guest.call("chat.send", { session_id: "busy", message: "first" });
    await within(
      () => guest.call("run.get", { run_id }),
      ({ status }) => status === "running",
    );
    await using there = await b.person(token).connect({});
    await there.request("session.subscribe", { session_id: "busy", after: 0, catch_up: "log" });
    await within(
      () => a.owner.call("user.list"),
      ({ users }) => users.some(({ user }: { user: string }) => user === "guest"),
    );
    expect(
      await a.owner.call("user.delete", { user: "guest", sessions: "transfer", transfer_to: "owner" }),
    ).toEqual({
      deleted: true,
      sessions: 2,
    });
    const { sessions } = await b.owner.call("session.list");
    expect(sessions).toHaveLength(2);
    const { runs } = await b.owner.call("run.list");
    expect(runs.find((run: { run_id: string }) => run.run_id === run_id)).toMatchObject({
      status: "aborted",
    });
    expect(await refusal(guest.call("session.list"))).toMatchObject({ code: "UNAUTHORIZED" });
  });

  test("the owner is killed in mid-answer: whoever follows at another node is told the end, and goes on there", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    nodes.model.reply().text("so far").hang();
    await using here = await a.owner.connect({});
    const { run_id } = await here.request("chat.send", { session_id: "talk", message: "first" });
    await here.nextEvent("message.delta");
    await using watcher = startWatcher({
      name: "at b",
      session_id: "talk",
      token: b.token,
      route: () => b.url,
      start: "start",
    });
    await watcher.until(() => watcher.synced && watcher.transcript.runs.length === 1);
    await a.kill();
    // Sent while nobody knows yet that the owner is gone: it is carried out once somebody has the session.
    const sent = b.owner.call("chat.send", { session_id: "talk", message: "second", idempotency_key: "k" });
    await watcher.until(
      () => watcher.transcript.runs.some((run) => run.run_id === run_id && run.status === "interrupted"),
      TAKEOVER_MS,
    );
    const first = await sent.catch(() => null);
    const { run_id: second } =
      first ??
      (await b.owner.call("chat.send", { session_id: "talk", message: "second", idempotency_key: "k" }));
    expect(await ended(b.owner, second)).toMatchObject({ status: "completed" });
    await watcher.until(() => watcher.transcript.runs.some((run) => run.status === "completed"));
    const { messages } = await b.owner.call("chat.history", { session_id: "talk" });
    expect(messages.map(({ role, status }: Record<string, string>) => `${role} ${status}`)).toEqual([
      "user complete",
      "assistant partial",
      "user complete",
      "assistant complete",
    ]);
    // What was left is ended before anything new begins.
    const order = watcher.transcript.runs.map(({ status }) => status);
    expect(order).toEqual(["interrupted", "completed"]);
  });

  test("a node that stops hands its sessions over while a run comes to its end there", async () => {
    await using nodes = await startNodes({ config: { server: { shutdown_grace_secs: 30 } } });
    const [a, b] = [nodes.node(0), nodes.node(1)];
    await say(a.owner, { session_id: "idle", message: "first" });
    nodes.model.reply().tokens(60, { everyMs: 100 });
    const { run_id } = await a.owner.call("chat.send", { session_id: "busy", message: "first" });
    await using watcher = startWatcher({
      name: "at b",
      session_id: "busy",
      token: b.token,
      route: () => b.url,
      start: "start",
    });
    await watcher.until(() => watcher.transcript.messages.length === 2);
    const stopped = a.stop();
    // What nothing runs in is served by the other at once, the rest once the answer is whole.
    const { run } = await say(b.owner, { session_id: "idle", message: "second" });
    expect(run).toMatchObject({ status: "completed" });
    expect(watcher.transcript.runs).toMatchObject([{ run_id, status: "running" }]);
    await watcher.until(() => watcher.transcript.runs[0]?.status === "completed", 60_000);
    expect(await stopped).toBe(0);
    expect((await say(b.owner, { session_id: "busy", message: "second" })).run).toMatchObject({
      status: "completed",
    });
    expect((await b.owner.call("chat.history", { session_id: "busy" })).messages).toHaveLength(4);
  });
});
