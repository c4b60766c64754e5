import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { ClientError } from "../../src/package/client.ts";
import type { Lines } from "./client-lines.ts";
import { TRANSPORTS, answerTo, counted, openLines } from "./client-lines.ts";

const LONG_MS = 60_000;
setDefaultTimeout(LONG_MS);

let lines: Lines;
beforeAll(async () => {
  lines = await openLines();
});
afterEach(() => lines.leave());
afterAll(() => lines[Symbol.asyncDispose]());

let sessions = 0;
const fresh = (): string => `s${++sessions}`;

describe.each(TRANSPORTS)("over %s", (transport) => {
  test("an answer is read as events, from what was sent to the end of its run", async () => {
    const { client } = await lines.connect(transport);
    const session = client.session(fresh());
    expect(await answerTo(session, "/long 20")).toBe(counted(20));
    expect(await answerTo(session, "/long 7")).toBe(counted(7));
    expect((await session.messages({ limit: 2 })).messages.map(({ content }) => content)).toEqual([
      "/long 7",
      counted(7),
    ]);
  });

  test("a session that is not there yet is absent, and live with its first message", async () => {
    const { client } = await lines.connect(transport);
    const session = client.session();
    const seen: string[] = [];
    session.state.subscribe(() => void seen.push(session.state.getSnapshot().status));
    await session.state.until(({ status }) => status === "absent");
    await session.send("/long 3");
    const { messages, runs } = await session.state.until((now) => now.runs[0]?.status === "completed");
    expect(messages.map(({ role, content }) => [role, content])).toEqual([
      ["user", "/long 3"],
      ["assistant", "1 2 3"],
    ]);
    expect(runs).toHaveLength(1);
    expect(client.session(session.session_id)).toBe(session);
  });

  test("of a session that nobody follows nothing is kept as pending", async () => {
    const { client } = await lines.connect(transport);
    const session = client.session(fresh());
    await expect(session.events().next()).rejects.toMatchObject({ code: "NOT_FOUND" });
    await session.send("/long 1");
    expect(session.state.getSnapshot().pending).toEqual([]);
  });

  test("what did not change is the same object in the next snapshot", async () => {
    const { client } = await lines.connect(transport);
    const session = client.session(fresh());
    await answerTo(session, "/long 3");
    const snapshots = new Set([await session.state.until(({ status }) => status === "live")]);
    session.state.subscribe(() => snapshots.add(session.state.getSnapshot()));
    expect(session.state.getSnapshot()).toBe(session.state.getSnapshot());
    await answerTo(session, "/long 40");
    const [before, ...all] = [...snapshots];
    const after = all.at(-1)!;
    expect(after.messages).toHaveLength(4);
    for (const each of all) {
      expect(each.messages[0]).toBe(before!.messages[0]);
      expect(each.messages[1]).toBe(before!.messages[1]);
    }
    const lengths = all.map(({ messages }) => messages[3]?.content.length ?? 0);
    expect(lengths).toEqual(lengths.toSorted((a, b) => a - b));
    expect(new Set(lengths).size).toBeGreaterThan(3);
  });

  test("a message that was typed offline is sent once, and is shown as pending until it is in the log", async () => {
    const { client, cut } = await lines.connect(transport);
    const session = client.session(fresh());
    await answerTo(session, "/long 2");
    await session.state.until(({ status }) => status === "live");
    session.state.subscribe(() => undefined);
    lines.held = true;
    cut();
    await session.state.until(({ status }) => status === "offline");
    const sent = session.send("/long 5", { idempotency_key: `typed ${transport}` });
    const { pending } = session.state.getSnapshot();
    expect(pending).toMatchObject([
      { idempotency_key: `typed ${transport}`, message: "/long 5", status: "waiting" },
    ]);
    lines.held = false;
    await sent;
    const now = await session.state.until(({ runs }) => runs.length === 2 && runs[1]?.status === "completed");
    expect(now.pending).toEqual([]);
    expect(now.messages.map(({ content }) => content)).toEqual(["/long 2", "1 2", "/long 5", counted(5)]);
  });

  test("the answer to a message is lost with the connection: it is sent again and taken once", async () => {
    const { client, cut } = await lines.connect(transport);
    const session = client.session(fresh());
    for (let i = 0; i < 5; i++) {
      const sending = session.send(`message ${i}`);
      cut();
      await sending;
    }
    const { messages } = await session.messages({ limit: 100 });
    const asked = messages.filter(({ role }) => role === "user").map(({ content }) => content);
    expect(asked).toEqual(Array.from({ length: 5 }, (_, i) => `message ${i}`));
  });

  test("messages that are sent one after the other keep their order, whatever happens to the first", async () => {
    const { client, refuse } = await lines.connect(transport);
    const session = client.session(fresh());
    await session.send("/long 1");
    const messages = Array.from({ length: 6 }, (_, i) => `message ${i}`);
    void refuse("message 0");
    await Promise.all(messages.map((message) => session.send(message)));
    const history = await session.messages({ limit: 100 });
    const asked = history.messages.filter(({ role }) => role === "user").map(({ content }) => content);
    expect(asked).toEqual(["/long 1", ...messages]);
  });

  test("a message that waits to be sent again ends with its client", async () => {
    const { client, refuse } = await lines.connect(transport);
    const session = client.session(fresh());
    const refused = refuse("too early", LONG_MS * 2);
    const sending = session.send("too early").catch((error: unknown) => error);
    await refused;
    client.disconnect();
    expect(await sending).toMatchObject({ code: "ABORTED" });
  });

  test("a message can be taken back while it waits; one that is refused says why", async () => {
    const { client, cut } = await lines.connect(transport);
    const session = client.session(fresh());
    lines.held = true;
    cut();
    const controller = new AbortController();
    const sending = session
      .send("never mind", { signal: controller.signal })
      .catch((error: unknown) => error);
    controller.abort();
    expect(await sending).toMatchObject({ code: "ABORTED" });
    expect(session.state.getSnapshot().pending).toEqual([]);
    lines.held = false;
    const refused = await session.send("hi", { model: "no/such" }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ClientError);
    const [failed] = session.state.getSnapshot().pending;
    expect(failed).toMatchObject({ status: "failed", message: "hi", error: refused });
    session.state.dismiss(failed!.idempotency_key);
    expect(session.state.getSnapshot().pending).toEqual([]);
  });

  test("older messages are brought into the state one page after the other", async () => {
    const { client } = await lines.connect(transport);
    const session = client.session(fresh());
    await client.request("session.create", { session_id: session.session_id });
    for (let i = 0; i < 75; i++) {
      await client.request("chat.inject", { session_id: session.session_id, role: "user", content: `m${i}` });
    }
    const opened = await session.state.until(({ status }) => status === "live");
    expect([opened.messages.length, opened.has_more]).toEqual([20, true]);
    await session.loadOlder({ limit: 30 });
    await session.loadOlder({ limit: 30 });
    const { messages, has_more } = session.state.getSnapshot();
    expect(messages.map(({ content }) => content)).toEqual(Array.from({ length: 75 }, (_, i) => `m${i}`));
    expect(has_more).toBe(false);
  });

  test("a file goes along with a message, and comes back as it was", async () => {
    const { client } = await lines.connect(transport);
    const session = client.session(fresh());
    const { attachment_id } = await client.upload(new File(["one\ntwo\n"], "lines.txt"));
    await session.send("/long 2", { attachments: [attachment_id] });
    const { messages } = await session.state.until(({ status }) => status === "live");
    expect(messages[0]?.parts).toMatchObject([
      { type: "text" },
      { type: "file", attachment_id, name: "lines.txt" },
    ]);
    const back = await client.download(session.session_id, attachment_id);
    expect(await back.text()).toBe("one\ntwo\n");
    const refused = await client
      .upload(new Uint8Array([0, 1, 2, 255]), { name: "x" })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ClientError);
    const stopped = client.upload("late", { signal: AbortSignal.abort() }).catch((error: unknown) => error);
    expect(await stopped).toMatchObject({ code: "ABORTED" });
  });

  test("a run is aborted, or all of them; a call that waits is answered once", async () => {
    const { client } = await lines.connect(transport);
    const session = client.session(fresh());
    session.state.subscribe(() => undefined);
    const runs = [
      await session.send("/long 5000"),
      await session.send("/long 5000"),
      await session.send("/long 5000"),
    ];
    expect(await session.abort({ run_id: runs[1]!.run_id })).toMatchObject({ run_ids: [runs[1]!.run_id] });
    expect((await session.abort()).run_ids.toSorted()).toEqual([runs[0]!.run_id, runs[2]!.run_id].toSorted());
    const ended = await session.state.until(
      (now) => now.runs.length === 3 && now.runs.every(({ ended_at }) => ended_at),
    );
    expect(ended.runs.map(({ status }) => status)).toEqual(["aborted", "aborted", "aborted"]);

    await session.send("/time");
    const asked = await session.state.until(({ approvals }) => approvals.length === 1);
    const { approval_id } = asked.approvals[0]!;
    await session.approve(approval_id, "deny");
    await session.state.until(({ approvals }) => approvals.length === 0);
    const again = await session.approve(approval_id, "allow").catch((error: unknown) => error);
    expect(again).toMatchObject({ code: "CONFLICT" });
  });
});
