import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { idle, log, refusal, say, startStack, typesOf } from "./stack.ts";

const NOT_FOUND = { code: "NOT_FOUND", status: 4004, details: { kind: "session" }, retryable: false };
const GONE = { code: "GONE", status: 4010, details: { kind: "session" }, retryable: false };

let stack: Stack;
let owner: Person;
let ann: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
  ann = await stack.guest({ user: "ann", role: "user" });
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

/** The gateway's id of a session of the owner's, learned by sharing it. */
async function shareWith(person: Person, user: string, session_id: string, role: string): Promise<string> {
  const before = new Set((await person.call("session.list", { limit: 200 })).sessions.map(idOf));
  await owner.call("session.share", { session_id, user, role });
  const { sessions } = await person.call("session.list", { limit: 200 });
  const [added] = sessions.map(idOf).filter((id: string) => !before.has(id));
  return added;
}

function idOf(session: { session_id: string }): string {
  return session.session_id;
}

describe("names", () => {
  test("a chosen id is its owner's name: two users may have the same, and neither meets the other", async () => {
    const mine = await owner.call("session.create", { session_id: "notes", title: "mine" });
    const hers = await ann.call("session.create", { session_id: "notes", title: "hers" });
    expect([mine.session_id, mine.owner, hers.session_id, hers.owner]).toEqual([
      "notes",
      "owner",
      "notes",
      "ann",
    ]);
    expect(mine.epoch).not.toBe(hers.epoch);
    await ann.call("session.update", { session_id: "notes", title: "hers still" });
    expect(await owner.call("session.get", { session_id: "notes" })).toMatchObject({
      title: "mine",
      owner: "owner",
    });
  });

  test("without one the gateway makes one, which begins with ses_ and is nobody's to choose", async () => {
    const { session_id } = await owner.call("session.create");
    expect(session_id).toMatch(/^ses_[a-z0-9]+$/);
    const sent = await owner.call("chat.send", { message: "hi" });
    expect(sent.session_id).toStartWith("ses_");
    expect(await refusal(owner.call("session.create", { session_id: "ses_mine" }))).toMatchObject({
      code: "INVALID_REQUEST",
      details: { kind: "session_id" },
    });
    expect(await refusal(owner.call("chat.send", { session_id: "ses_mine", message: "x" }))).toMatchObject(
      NOT_FOUND,
    );
  });

  test("what may be chosen", async () => {
    for (const session_id of [
      "a",
      "A.b_c:d-e",
      "x".repeat(128),
      "__proto__",
      "constructor",
      "..",
      "ses",
      "SES_x",
    ]) {
      expect(await owner.call("session.create", { session_id })).toMatchObject({ session_id });
      expect(await owner.call("session.get", { session_id })).toMatchObject({ session_id });
    }
    for (const session_id of ["", "x".repeat(129), "a b", "a/b", "a\n", "ä", "a\u0000", 'a"b', "<a>"]) {
      for (const method of ["session.create", "session.get", "chat.history"]) {
        const refused = await refusal(owner.call(method, { session_id }));
        expect([session_id, refused]).toMatchObject([
          session_id,
          { code: "INVALID_REQUEST", details: { path: "session_id" } },
        ]);
      }
    }
  });

  test("one that is taken is a CONFLICT; a reader of both names reads one session", async () => {
    await owner.call("session.create", { session_id: "taken" });
    expect(await refusal(owner.call("session.create", { session_id: "taken" }))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "exists" },
      retryable: false,
    });
    const id = await shareWith(ann, "ann", "taken", "viewer");
    expect(id).toStartWith("ses_");
    // Requests take both names, answers and frames carry the owner's for the owner and the other for everybody else.
    expect(await owner.call("session.get", { session_id: id })).toMatchObject({ session_id: "taken" });
    expect(await ann.call("session.get", { session_id: id })).toMatchObject({
      session_id: id,
      owner: "owner",
    });
    expect(await refusal(ann.call("session.get", { session_id: "taken" }))).toMatchObject(NOT_FOUND);
    await using mine = await owner.connect();
    await using hers = await ann.connect();
    const opened = await mine.request("session.subscribe", { session_id: id });
    expect(opened.snapshot.session.session_id).toBe("taken");
    expect((await hers.request("session.subscribe", { session_id: id })).snapshot.session.session_id).toBe(
      id,
    );
    const { run } = await say(owner, { session_id: id, message: "both read it" });
    expect(run.session_id).toBe("taken");
    await Promise.all([mine.nextEvent("run.completed"), hers.nextEvent("run.completed")]);
    const [forMe, forHer] = [log(mine, "taken"), log(hers, id)];
    expect(typesOf(forMe)).toContain("message.delta");
    expect(forHer.map((frame) => ({ ...frame, session_id: "taken" }))).toEqual(forMe);
    for (const socket of [mine, hers]) {
      const other = socket === mine ? id : '"taken"';
      expect(socket.frames.filter(({ raw }) => raw.includes(other))).toEqual([]);
    }
    const history = await ann.call("chat.history", { session_id: id });
    expect(new Set(history.messages.map(idOf))).toEqual(new Set([id]));
    expect((await ann.call("run.list", { session_id: id })).runs.map(idOf)).toEqual([id]);
  });
});

describe("sharing", () => {
  test("a viewer reads, an editor also writes, neither owns", async () => {
    await owner.call("session.create", { session_id: "shared" });
    const session_id = await shareWith(ann, "ann", "shared", "viewer");
    const writes: [string, Record<string, unknown>][] = [
      ["chat.send", { message: "x" }],
      ["chat.inject", { role: "user", content: "x" }],
      ["chat.abort", {}],
      ["session.update", { title: "x" }],
    ];
    const owns: [string, Record<string, unknown>][] = [
      ["session.delete", {}],
      ["session.share", { user: "eve", role: "viewer" }],
      ["session.unshare", { user: "ann" }],
    ];
    const share = (role: string) => ({
      code: "FORBIDDEN",
      details: { kind: "share", role },
      retryable: false,
    });
    for (const [method, params] of [...writes, ...owns]) {
      const refused = await refusal(ann.call(method, { session_id, ...params }));
      expect([method, refused]).toMatchObject([method, share("viewer")]);
    }
    for (const method of ["session.get", "chat.history", "run.list", "presence.list"])
      await ann.call(method, { session_id });
    expect(await ann.call("session.fork", { session_id })).toMatchObject({ owner: "ann" });
    await owner.call("session.share", { session_id: "shared", user: "ann", role: "editor" });
    for (const [method, params] of writes) await ann.call(method, { session_id, ...params });
    for (const [method, params] of owns) {
      const refused = await refusal(ann.call(method, { session_id, ...params }));
      expect([method, refused]).toMatchObject([method, share("editor")]);
    }
    await owner.call("session.share", { session_id: "shared", user: "ann", role: "viewer" });
    expect(await refusal(ann.call("chat.inject", { session_id, role: "user", content: "x" }))).toMatchObject(
      share("viewer"),
    );
    expect(
      await refusal(owner.call("session.share", { session_id: "shared", user: "owner", role: "viewer" })),
    ).toMatchObject({
      code: "INVALID_REQUEST",
    });
  });

  test("an editor aborts what the owner began, and is named", async () => {
    stack.model.reply().text("so far").hang();
    const { run_id } = await owner.call("chat.send", { session_id: "stopped", message: "go" });
    const session_id = await shareWith(ann, "ann", "stopped", "editor");
    expect(await ann.call("chat.abort", { session_id })).toEqual({ run_ids: [run_id], status: "aborted" });
    expect(await owner.call("run.get", { run_id })).toMatchObject({
      status: "aborted",
      ended_by: "ann",
      session_id: "stopped",
    });
  });

  test("taken back, it ends sockets' subscriptions and streams at once, and the session is not there any more", async () => {
    await owner.call("session.create", { session_id: "lent" });
    const session_id = await shareWith(ann, "ann", "lent", "viewer");
    await using hers = await ann.connect();
    await using mine = await owner.connect();
    await hers.request("session.subscribe", { session_id });
    await mine.request("session.subscribe", { session_id: "lent" });
    const stream = await ann.events(`/api/v1/sessions/${session_id}/events`);
    await stream.next(({ event }) => event === "session.synced");
    await owner.call("session.unshare", { session_id: "lent", user: "ann" });
    const { json } = await hers.nextEvent("session.unsubscribed", 1_000);
    expect(json).toMatchObject({ session_id, payload: { session_id, reason: "revoked" } });
    const last = (await stream.rest()).at(-1);
    expect([last?.event, JSON.parse(last?.data ?? "").payload.reason]).toEqual([
      "session.unsubscribed",
      "revoked",
    ]);
    await owner.call("chat.inject", { session_id: "lent", role: "user", content: "not for her" });
    await mine.nextEvent("message.created");
    await hers.request("heartbeat");
    expect(hers.frames.filter(({ raw }) => raw.includes("not for her"))).toEqual([]);
    expect(await refusal(hers.request("session.subscribe", { session_id }))).toMatchObject(NOT_FOUND);
    expect(await refusal(ann.call("chat.history", { session_id }))).toMatchObject(NOT_FOUND);
    const again = await ann.events(`/api/v1/sessions/${session_id}/events`);
    expect([again.status, await again.json()]).toMatchObject([404, { error: NOT_FOUND }]);
    // Again, and of somebody who never had it: nothing happens.
    expect(await owner.call("session.unshare", { session_id: "lent", user: "ann" })).toEqual({});
  });
});

describe("deletion", () => {
  test("ends the run, closes the log, tells everybody and leaves GONE for the owner, NOT_FOUND for others", async () => {
    stack.model.reply().text("so far").hang();
    await using mine = await owner.connect();
    await mine.request("chat.send", { session_id: "doomed", message: "go" });
    await mine.nextEvent("message.delta");
    const queued = await mine.request("chat.send", { session_id: "doomed", message: "and then" });
    const session_id = await shareWith(ann, "ann", "doomed", "editor");
    await using hers = await ann.connect();
    await hers.request("session.subscribe", { session_id });
    expect(await mine.request("session.delete", { session_id: "doomed" })).toEqual({});
    for (const [socket, name] of [
      [mine, "doomed"],
      [hers, session_id],
    ] as const) {
      await socket.next(
        ({ json }) => json.event === "session.unsubscribed" && json.payload.reason === "deleted",
      );
      const events = log(socket, name);
      expect(events.at(-1)).toMatchObject({ event: "session.closed", payload: { reason: "deleted" } });
      const ends = events.filter(({ event }) => /^run\.(aborted|completed|failed|interrupted)$/.test(event));
      expect(ends.map(({ event, payload }) => [event, payload.run.reason])).toEqual([
        ["run.aborted", "deleted"],
        ["run.aborted", "deleted"],
      ]);
      const { payload } = (await socket.next(({ json }) => json.payload?.deleted === true)).json;
      expect(payload).toMatchObject({ session_id: name, deleted: true });
    }
    await stack.model.waitForAbort();
    const calls: [string, Record<string, unknown>][] = [
      ["session.get", {}],
      ["session.update", { title: "x" }],
      ["session.fork", {}],
      ["session.delete", {}],
      ["session.share", { user: "ann", role: "viewer" }],
      ["chat.send", { message: "x" }],
      ["chat.history", {}],
      ["chat.inject", { role: "user", content: "x" }],
      ["chat.abort", {}],
      ["run.list", {}],
      ["presence.list", {}],
    ];
    for (const [method, params] of calls) {
      for (const id of ["doomed", session_id]) {
        const refused = await refusal(owner.call(method, { ...params, session_id: id }));
        expect([method, id, refused]).toMatchObject([method, id, GONE]);
      }
      const refused = await refusal(ann.call(method, { ...params, session_id }));
      // Sharing is the owner's, but what is not there is not there first.
      expect([method, refused]).toMatchObject([method, NOT_FOUND]);
    }
    for (const run_id of [queued.run_id]) {
      expect(await refusal(owner.call("run.get", { run_id }))).toMatchObject({
        code: "NOT_FOUND",
        details: { kind: "run" },
      });
    }
    expect(await refusal(mine.request("session.subscribe", { session_id: "doomed" }))).toMatchObject(GONE);
    expect((await owner.ask("GET", "/api/v1/sessions/doomed/events")).status).toBe(410);
    expect((await owner.call("session.list", { query: "doomed" })).sessions).toEqual([]);
  });

  test("its name may be taken again, by session.create alone and with another epoch", async () => {
    const first = await owner.call("session.create", { session_id: "phoenix", title: "first" });
    await owner.call("chat.inject", { session_id: "phoenix", role: "user", content: "old" });
    const old = await shareWith(ann, "ann", "phoenix", "viewer");
    await owner.call("session.delete", { session_id: "phoenix" });
    expect(await refusal(owner.call("chat.send", { session_id: "phoenix", message: "x" }))).toMatchObject(
      GONE,
    );
    const second = await owner.call("session.create", { session_id: "phoenix" });
    expect(second).toMatchObject({ session_id: "phoenix", title: "", message_count: 0, head: 1 });
    expect(second.epoch).not.toBe(first.epoch);
    expect((await owner.call("chat.history", { session_id: "phoenix" })).messages).toEqual([]);
    // The gateway's id is never used again, and a share was of that session, not of the name.
    expect(await refusal(owner.call("session.get", { session_id: old }))).toMatchObject(GONE);
    expect(await refusal(ann.call("session.get", { session_id: old }))).toMatchObject(NOT_FOUND);
    await using socket = await owner.connect();
    const opened = await socket.request("session.subscribe", {
      session_id: "phoenix",
      epoch: first.epoch,
      after: 1,
    });
    expect(opened).toMatchObject({ mode: "reset", reason: "epoch", epoch: second.epoch, from: 1 });
  });
});
