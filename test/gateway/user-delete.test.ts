import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { ended, eventually, log, refusal, say, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
async function known(user: string): Promise<any> {
  const { users } = await owner.call("user.list", { limit: 200 });
  return users.find((each: { user: string }) => each.user === user);
}

async function restart(): Promise<void> {
  const { gateway } = stack;
  gateway.kill();
  await gateway.exited;
  await gateway.restart();
}

describe("user.delete", () => {
  test("with their sessions: everything of theirs is gone, and what they had of others", async () => {
    const gone = await stack.guest({ user: "gone", role: "user" });
    const { sent } = await say(gone, { session_id: "mine", message: "hello", idempotency_key: "k" });
    await gone.call("session.share", { session_id: "mine", user: "owner", role: "viewer" });
    const { sessions } = await owner.call("session.list", { limit: 200 });
    const { session_id } = sessions.find((each: { owner: string }) => each.owner === "gone");
    await owner.call("session.create", { session_id: "theirs" });
    await owner.call("session.share", { session_id: "theirs", user: "gone", role: "editor" });
    await using socket = await owner.connect();
    await socket.request("session.subscribe", { session_id });
    const removed = await owner.call("user.delete", { user: "gone", sessions: "delete" });
    expect(removed).toEqual({ deleted: true, sessions: 1 });
    await socket.nextEvent("session.unsubscribed");
    const closed = log(socket, session_id).at(-1);
    expect(closed).toMatchObject({ event: "session.closed", payload: { reason: "deleted" } });
    expect(await refusal(gone.call("system.info"))).toMatchObject({ code: "UNAUTHORIZED" });
    expect(await known("gone")).toBeUndefined();
    expect(await refusal(owner.call("session.get", { session_id }))).toMatchObject({ code: "NOT_FOUND" });
    expect((await owner.call("token.list")).tokens.map(({ user }: { user: string }) => user)).not.toContain(
      "gone",
    );
    // Somebody else may be called so: nothing of the one before is theirs but that the name was used.
    const again = await stack.guest({ user: "gone", role: "user" });
    expect(await again.call("session.list")).toEqual({ sessions: [] });
    const fresh = await again.call("chat.send", {
      session_id: "new",
      message: "hello",
      idempotency_key: "k",
    });
    expect(fresh.run_id).not.toBe(sent.run_id);
    expect(await refusal(again.call("session.get", { session_id: "mine" }))).toMatchObject({ code: "GONE" });
    await ended(again, fresh.run_id);
  });

  test("with a successor: the sessions keep their id and their log, under the gateway's name for them", async () => {
    const from = await stack.guest({ user: "from", role: "user" });
    const heir = await stack.guest({ user: "heir", role: "user" });
    await heir.call("session.create", { session_id: "plan", title: "the heir's own" });
    await say(from, { session_id: "plan", message: "hello" });
    await from.call("session.create", { session_id: "notes" });
    await from.call("session.share", { session_id: "plan", user: "heir", role: "viewer" });
    await from.call("session.share", { session_id: "plan", user: "reader", role: "viewer" });
    const reader = await stack.guest({ user: "reader", role: "user" });
    const [before] = (await reader.call("session.list")).sessions;
    const { session_id } = before;
    await using watching = await reader.connect();
    await watching.request("session.subscribe", { session_id });
    await using inheriting = await heir.connect();
    await inheriting.request("session.subscribe", { session_id });
    const params = { user: "from", sessions: "transfer", transfer_to: "heir" };
    expect(await owner.call("user.delete", params)).toEqual({ deleted: true, sessions: 2 });
    // A name is worth something where there is no title.
    const { sessions } = await heir.call("session.list", { query: "notes" });
    expect(sessions).toMatchObject([{ title: "notes", session_id: expect.stringMatching(/^ses_/) }]);
    const after = await heir.call("session.get", { session_id });
    expect(after).toMatchObject({ session_id, owner: "heir", title: "hello", message_count: 2 });
    expect(after).toMatchObject({ epoch: before.epoch, head: before.head + 1 });
    expect(await heir.call("session.get", { session_id: "plan" })).toMatchObject({ title: "the heir's own" });
    for (const socket of [watching, inheriting]) {
      const { json: told } = await socket.nextEvent("session.updated");
      expect(told).toMatchObject({ session_id, payload: { session: { owner: "heir", title: "hello" } } });
    }
    // The heir is the owner now, the others have what they had, and both go on where they were.
    await say(heir, { session_id, message: "more" });
    await watching.nextEvent("run.completed");
    await inheriting.nextEvent("run.completed");
    expect(log(inheriting, session_id).map(({ seq }) => seq)).toEqual(
      log(watching, session_id).map(({ seq }) => seq),
    );
    expect(await refusal(reader.call("session.delete", { session_id }))).toMatchObject({ code: "FORBIDDEN" });
    expect((await heir.call("run.list", { session_id })).runs).toHaveLength(2);
    await restart();
    expect(await heir.call("session.get", { session_id })).toMatchObject({ owner: "heir" });
    expect(await known("from")).toBeUndefined();
    await heir.call("session.delete", { session_id });
  });

  test("what is cut short is finished at the next start, and lets nobody in meanwhile", async () => {
    const big = await stack.guest({ user: "big", role: "user" });
    await using socket = await big.connect();
    for (let i = 0; i < 40; i++) {
      const made = Array.from({ length: 10 }, (_, k) =>
        socket.request("session.create", { session_id: `${i}-${k}` }),
      );
      await Promise.all(made);
    }
    const lost = owner.call("user.delete", { user: "big", sessions: "delete" }).catch(() => "lost");
    await eventually(
      () => known("big"),
      (found) => found?.deleting === true && found.sessions < 400,
    );
    stack.gateway.kill("SIGKILL");
    await stack.gateway.exited;
    expect(await lost).toBe("lost");
    await stack.gateway.restart();
    expect(await refusal(big.call("system.info"))).toMatchObject({ code: "UNAUTHORIZED" });
    await eventually(
      () => known("big"),
      (found) => found === undefined,
      30_000,
    );
    expect(await refusal(big.call("system.info"))).toMatchObject({ code: "UNAUTHORIZED" });
  }, 60_000);

  test("a choice that makes no sense is refused before anything is done", async () => {
    await stack.guest({ user: "stays", role: "user" });
    await stack.guest({ user: "off", role: "user" });
    await owner.call("user.disable", { user: "off" });
    const refused = async (params: Record<string, unknown>): Promise<unknown> => {
      const { code, details } = await refusal(owner.call("user.delete", { user: "stays", ...params }));
      return [code, details?.["kind"]];
    };
    expect(await refused({})).toEqual(["INVALID_REQUEST", "schema"]);
    expect(await refused({ sessions: "transfer" })).toEqual(["INVALID_REQUEST", "schema"]);
    expect(await refused({ sessions: "delete", transfer_to: "owner" })).toEqual([
      "INVALID_REQUEST",
      "schema",
    ]);
    expect(await refused({ sessions: "transfer", transfer_to: "stays" })).toEqual([
      "INVALID_REQUEST",
      "schema",
    ]);
    expect(await refused({ sessions: "transfer", transfer_to: "nobody" })).toEqual(["NOT_FOUND", "user"]);
    expect(await refused({ sessions: "transfer", transfer_to: "off" })).toEqual(["CONFLICT", "state"]);
    expect(await known("stays")).toMatchObject({ disabled: false });
  });

  test("is in the audit trail with its choice", async () => {
    const { entries } = await owner.call("audit.list", { action: "user.delete", outcome: "ok", limit: 50 });
    const about = entries.find(({ target }: { target: string }) => target === "from");
    expect(about).toMatchObject({ user: "owner", details: { sessions: "transfer", transfer_to: "heir" } });
  });
});
