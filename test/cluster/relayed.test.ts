import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { hasPostgres } from "../support/postgres.ts";
import { ended, refusal, say } from "../gateway/stack.ts";
import { untilDone } from "./commands.ts";
import { startNodes, TAKEOVER_MS, within } from "./nodes.ts";

setDefaultTimeout(120_000);

type Nodes = Awaited<ReturnType<typeof startNodes>>;

/** What is asked of another node is done, and whoever does it cannot say so. */
async function refuseAnswers({ sql }: Nodes): Promise<void> {
  await sql.unsafe(`
    CREATE FUNCTION agentbus.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE OF answer ON agentbus.calls FOR EACH ROW EXECUTE FUNCTION agentbus.refuse()`);
}

/** What was asked and not answered is not there for a while; its ids. */
async function putAside({ sql }: Nodes): Promise<string[]> {
  await sql`CREATE TABLE agentbus.aside AS SELECT * FROM agentbus.calls`;
  const calls: { id: string }[] = await sql`DELETE FROM agentbus.calls RETURNING id`;
  return calls.map(({ id }) => id);
}

async function putBack({ sql }: Nodes): Promise<void> {
  await sql`INSERT INTO agentbus.calls OVERRIDING SYSTEM VALUE SELECT * FROM agentbus.aside`;
}

/** How many keys count for users, and which there are. */
async function remembered({ sql }: Nodes): Promise<(string | number)[]> {
  const [{ n }] = await sql`SELECT coalesce(sum(key_count), 0)::int AS n FROM agentbus.quotas`;
  const keys = await sql`SELECT key FROM agentbus.idempotency ORDER BY key`;
  return [n, ...keys.map(({ key }: { key: string }) => key)];
}

describe.skipIf(!hasPostgres)("what one node asks of another", () => {
  test("is not done for whoever may come in no more by then", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    const { token, token_id } = await b.owner.call("token.create", { name: "t", user: "ann", role: "user" });
    await say(a.person(token), { session_id: "talk", message: "first" });
    const { session_id } = await a.person(token).call("session.get", { session_id: "talk" });
    expect(session_id).toBe("talk");
    await a.kill();
    // Nobody has the session, and nobody knows yet: it waits in the database.
    const sent = b
      .person(token)
      .call("chat.send", { session_id: "talk", message: "second" })
      .catch(() => null);
    await within(
      async () => (await nodes.sql`SELECT count(*)::int AS n FROM agentbus.calls`)[0].n,
      (n) => n === 1,
    );
    await b.owner.call("token.revoke", { token_id });
    await within(
      async () => (await nodes.sql`SELECT answer FROM agentbus.calls`)[0].answer,
      (answer) => answer !== null,
      TAKEOVER_MS,
    );
    await sent;
    const [{ answer }] = await nodes.sql`SELECT answer FROM agentbus.calls`;
    expect(JSON.parse(answer)).toMatchObject({ error: { code: "UNAUTHORIZED" } });
    const [{ n }] = await nodes.sql`SELECT count(*)::int AS n FROM agentbus.messages`;
    expect(n).toBe(2);
  });

  test("comes in the order in which one connection asked, also while the session changes hands", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    await say(a.owner, { session_id: "talk", message: "first" });
    await using there = await b.owner.connect({});
    await there.request("session.subscribe", { session_id: "talk" });
    const fence = async (): Promise<number> => {
      const [row] = await nodes.sql`SELECT fence::int AS fence FROM agentbus.sessions`;
      return row.fence;
    };
    const before = await fence();
    await a.kill();
    const inject = (n: number): Promise<number> =>
      there
        .request("chat.inject", { session_id: "talk", role: "user", content: `${n}` })
        .then(({ seq }) => seq as number);
    // These wait until nobody has the session; the others come as soon as it is taken.
    const sends = Array.from({ length: 12 }, (_, n) => inject(n));
    for (const until = performance.now() + TAKEOVER_MS; (await fence()) === before;)
      if (performance.now() > until) throw new Error("nobody took the session");
    sends.push(inject(12), inject(13), inject(14));
    const seqs = await Promise.all(sends);
    expect(seqs).toEqual(seqs.toSorted((x, y) => x - y));
  });

  test("is carried out although something stands before it that nobody can read", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
    await a.call("session.create", { session_id: "talk" });
    const [{ id: session }] = await nodes.sql`SELECT id FROM agentbus.sessions`;
    await nodes.sql`INSERT INTO agentbus.calls (id, session, from_boot, body) VALUES ('call_x', ${session}, 'none', 'no JSON')`;
    const inject = { session_id: "talk", role: "user", content: "hello" };
    expect(await b.call("chat.inject", inject)).toMatchObject({ session_id: "talk" });
    const [{ answer }] = await nodes.sql`SELECT answer FROM agentbus.calls WHERE id = 'call_x'`;
    expect(JSON.parse(answer)).toMatchObject({
      error: { code: "INTERNAL_ERROR", details: { id: "call_x" } },
    });
  });

  test("a session that several nodes are to begin at once is made by one, and has what was said at all of them", async () => {
    await using nodes = await startNodes();
    const both = nodes.all.map(({ owner }) => owner);
    for (let n = 0; n < 5; n++) {
      const session_id = `talk-${n}`;
      await Promise.all(
        both.map(async (at, m) =>
          ended(at, (await at.call("chat.send", { session_id, message: `${m}` })).run_id),
        ),
      );
      for (const at of both) expect((await at.call("chat.history", { session_id })).messages).toHaveLength(4);
    }
  });

  test("an abort that is carried out again, by the next node, ends no run that began since", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    nodes.model.reply().text("so far").hang();
    const { run_id } = await a.owner.call("chat.send", { session_id: "talk", message: "first" });
    // The node that has it dies after it ended the run, and before its answer is written.
    await refuseAnswers(nodes);
    const asked = b.owner.call("chat.abort", { session_id: "talk" }).catch(() => null);
    expect(await ended(a.owner, run_id)).toMatchObject({ status: "aborted" });
    await a.kill();
    await nodes.sql`DROP TRIGGER refuse ON agentbus.calls`;
    // The next one comes upon it once something else runs.
    const [call] = await putAside(nodes);
    nodes.model.reply().text("so far").hang();
    const idempotency_key = "second";
    const second = await untilDone(() =>
      b.owner.call("chat.send", { session_id: "talk", message: "second", idempotency_key }),
    );
    await nodes.model.waitForRequests(2);
    await putBack(nodes);
    const answer = await within(
      async () => (await nodes.sql`SELECT answer FROM agentbus.calls WHERE id = ${call}`)[0].answer,
      (text) => text !== null,
      5_000,
    );
    expect(JSON.parse(answer)).toEqual({ payload: { run_ids: [run_id], status: "aborted" } });
    expect(await b.owner.call("run.get", { run_id: second.run_id })).toMatchObject({ status: "running" });
    // The next one does end it.
    expect(await b.owner.call("chat.abort", { session_id: "talk" })).toMatchObject({ status: "aborted" });
    await asked;
  });

  test("what is carried out again, by the next node, changes nothing once more", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    await say(a.owner, { session_id: "talk", message: "first" });
    await refuseAnswers(nodes);
    nodes.model.reply().text("Named by the model");
    nodes.model.reply().text("All that was said");
    await using there = await b.owner.connect({});
    const asked = [
      there.request("session.update", { session_id: "talk", metadata: { n: 1 } }),
      there.request("session.share", { session_id: "talk", user: "bob", role: "viewer" }),
      there.request("session.title", { session_id: "talk" }),
    ];
    for (const each of asked) each.catch(() => null);
    const read = (): Promise<{ title: string }> => a.owner.call("session.get", { session_id: "talk" });
    await within(read, ({ title }) => title === "Named by the model");
    there.request("session.compact", { session_id: "talk" }).catch(() => null);
    await within(
      () => a.owner.call("run.list", { session_id: "talk" }),
      ({ runs }) =>
        runs.length === 2 && runs.every(({ status }: { status: string }) => status === "completed"),
    );
    await a.kill();
    await nodes.sql`DROP TRIGGER refuse ON agentbus.calls`;
    // The next one comes upon them once something else was changed.
    const calls = await putAside(nodes);
    expect(calls).toHaveLength(4);
    const later = { session_id: "talk", title: "Named since", metadata: { n: 2 } };
    await untilDone(() => b.owner.call("session.update", later));
    await b.owner.call("session.unshare", { session_id: "talk", user: "bob" });
    const before = await b.owner.call("session.get", { session_id: "talk" });
    const questions = nodes.model.requests.length;
    await putBack(nodes);
    const answers: { answer: string | null }[] = await within(
      async () => nodes.sql`SELECT answer FROM agentbus.calls ORDER BY place`,
      (rows) => rows.every(({ answer }: { answer: string | null }) => answer !== null),
      5_000,
    );
    const [updated, shared, titled, compacted] = answers.map(
      ({ answer }) => JSON.parse(answer ?? "").payload,
    );
    const { runs } = await b.owner.call("run.list", { session_id: "talk" });
    expect(runs).toHaveLength(2);
    expect(compacted).toMatchObject({ session_id: "talk", status: "started" });
    expect(runs.map(({ run_id }: { run_id: string }) => run_id)).toContain(compacted.run_id);
    expect([updated, titled]).toEqual([before, before]);
    expect(shared).toEqual({});
    expect(await b.owner.call("session.get", { session_id: "talk" })).toEqual(before);
    expect(before).toMatchObject(later);
    const [{ n }] =
      await nodes.sql`SELECT count(*)::int AS n FROM agentbus.records WHERE collection = 'share'`;
    expect(n).toBe(0);
    expect(nodes.model.requests).toHaveLength(questions);
  });

  test("takes nothing of what a user may have remembered", async () => {
    await using nodes = await startNodes({ config: { limits: { keys_per_user: 5 } } });
    const [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
    await a.call("session.create", { session_id: "talk" });
    const event = { session_id: "talk", event: "app.x", payload: {}, durable: true };
    const seqs: number[] = [];
    for (let n = 0; n < 20; n++) seqs.push((await b.call("event.send", event)).seq);
    expect(seqs).toEqual(Array.from(seqs, (_, n) => (seqs[0] ?? 0) + n));
    // One that the user asked to be remembered is.
    const once = { ...event, idempotency_key: "once" };
    const { seq } = await b.call("event.send", once);
    expect(await b.call("event.send", once)).toMatchObject({ seq });
    expect(await remembered(nodes)).toEqual([1, "once"]);
    // One who may have no more of them can still take back and delete, by way of any node.
    for (let n = 0; n < 4; n++) await b.call("event.send", { ...event, idempotency_key: `${n}` });
    await a.call("session.share", { session_id: "talk", user: "bob", role: "viewer" });
    expect(await refusal(b.call("event.send", { ...event, idempotency_key: "more" }))).toMatchObject({
      details: { kind: "full", what: "keys_per_user" },
    });
    await b.call("session.unshare", { session_id: "talk", user: "bob" });
    await b.call("session.update", { session_id: "talk", title: "Named there" });
    expect(await b.call("session.delete", { session_id: "talk" })).toEqual({});
    expect(await remembered(nodes)).toEqual([5, "0", "1", "2", "3", "once"]);
  });

  test("a session that was deleted by whoever dies before they can say so is deleted, and nothing is left of the call", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    await a.owner.call("session.create", { session_id: "talk" });
    await refuseAnswers(nodes);
    const asked = b.owner.call("session.delete", { session_id: "talk" });
    await within(
      async () => (await nodes.sql`SELECT count(*)::int AS n FROM agentbus.idempotency`)[0].n,
      (n) => n === 1,
    );
    await a.kill();
    await nodes.sql`DROP TRIGGER refuse ON agentbus.calls`;
    expect(await asked).toEqual({});
    await within(
      async () => (await nodes.sql`SELECT answer FROM agentbus.calls`)[0].answer,
      (answer) => answer === '{"payload":{}}',
    );
    expect(await remembered(nodes)).toEqual([0]);
  });
});
