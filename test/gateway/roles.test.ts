import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import { METHOD_CASES } from "./method-cases.ts";
import { askForTool, TOOLS_CONFIG } from "./tool-asks.ts";
import type { Person, Stack } from "./stack.ts";
import { ask, eventually, refusal, say, startStack } from "./stack.ts";

/**
 * What a role in a shared session allows, generated from the methods there are: one that names a session or a run is
 * listed here, or a test fails. The owner may everything, and somebody it is not shared with finds nothing.
 */
const NEEDS: Readonly<Record<string, "read" | "write" | "own">> = {
  "session.get": "read",
  "session.subscribe": "read",
  "session.unsubscribe": "read",
  "session.fork": "read",
  "presence.list": "read",
  "chat.history": "read",
  "session.search": "read",
  "usage.get": "read",
  "run.list": "read",
  "run.get": "read",
  "run.wait": "read",
  "run.create": "write",
  "event.broadcast": "read",
  "session.update": "write",
  "session.compact": "write",
  "session.title": "write",
  "chat.send": "write",
  "hook.create": "write",
  "hook.update": "write",
  "schedule.create": "write",
  "schedule.update": "write",
  "chat.inject": "write",
  "chat.abort": "write",
  "tool.approve": "write",
  "event.send": "write",
  "session.share": "own",
  "session.unshare": "own",
  "session.delete": "own",
};
/** The session_id of these names one that is to be made, or only filters what is the caller's own. */
const OTHERS = new Set(["session.create"]);
const MAY = { viewer: ["read"], editor: ["read", "write"], owner: ["read", "write", "own"] } as const;

let stack: Stack;
let owner: Person;
let guest: Person;
let names: string[];
beforeAll(async () => {
  stack = await startStack({ config: { tools: TOOLS_CONFIG } });
  ({ owner } = stack);
  const scopes = ["chat.read", "chat.write", "sessions.manage", "events.broadcast", "tools.approve"];
  guest = await stack.guest({ user: "guest", scopes });
  const { methods } = await owner.call("system.describe");
  names = methods
    .filter(({ params }: { params: object }) => /"(session_id|run_id)"/.test(JSON.stringify(params)))
    .map(({ name }: { name: string }) => name);
});
afterAll(() => stack[Symbol.asyncDispose]());

/** A session of the owner's with an answered message. */
async function made(): Promise<{ name: string; session_id: string; run_id: string }> {
  const name = `roles-${crypto.randomUUID()}`;
  const { sent } = await say(owner, { session_id: name, message: "hello" });
  // Whom it is shared with knows the gateway's name for it.
  await owner.call("session.share", { session_id: name, user: "guest", role: "viewer" });
  const { sessions } = await guest.call("session.list", { limit: 1, query: "hello" });
  await owner.call("session.unshare", { session_id: name, user: "guest" });
  return { name, session_id: sessions[0].session_id, run_id: sent.run_id };
}

async function paramsOf(
  method: string,
  about: { session_id: string; run_id: string },
  asker = guest,
): Promise<Record<string, unknown>> {
  const world = {
    stack,
    session_id: about.session_id,
    message_id: "",
    run_id: about.run_id,
    freshSession: async () => about.session_id,
    freshApproval: () => askForTool(stack, about.session_id),
    freshName: () => `name-${crypto.randomUUID()}`,
    async freshSchedule() {
      const schedule = { cron: "0 0 1 1 *", message: "happy new year" };
      return (await asker.call("schedule.create", schedule)).schedule_id;
    },
    async freshHook() {
      const hook = { name: `name-${crypto.randomUUID()}`, session_id: "x", template: "x" };
      return (await asker.call("hook.create", hook)).hook_id;
    },
  };
  const params = (await METHOD_CASES[method]?.params(world as never)) ?? {};
  if (method === "event.broadcast") return { ...params, filter: { session_id: about.session_id } };
  if (method === "session.unshare") return { ...params, session_id: about.session_id, user: "nobody" };
  return /^run\.(?:get|wait)$/.test(method) ? params : { ...params, session_id: about.session_id };
}

async function outcome(
  socket: TestSocket,
  method: string,
  params: Record<string, unknown>,
): Promise<unknown> {
  return socket.request(method, params).then(
    () => "allowed",
    ({ code, details }) => [code, details?.kind, details?.role].filter((each) => each !== undefined),
  );
}

test("every method that names a session or a run is listed", () => {
  expect(names.filter((name) => !OTHERS.has(name)).toSorted()).toEqual(Object.keys(NEEDS).toSorted());
});

for (const role of ["viewer", "editor", "owner"] as const) {
  describe(role, () => {
    for (const [method, need] of Object.entries(NEEDS)) {
      const allowed = (MAY[role] as readonly string[]).includes(need);
      test(`${allowed ? "may" : "may not"} ${method}`, async () => {
        const about = await made();
        if (role !== "owner") {
          await owner.call("session.share", { session_id: about.name, user: "guest", role });
        }
        await using socket = await (role === "owner" ? owner : guest).connect();
        const params = await paramsOf(method, about, role === "owner" ? owner : guest);
        const expected = allowed ? "allowed" : ["FORBIDDEN", "share", role];
        expect(await outcome(socket, method, params)).toEqual(expected);
      });
    }
  });
}

test("somebody it is not shared with any more finds nothing, whatever they ask", async () => {
  const about = await made();
  await using socket = await guest.connect();
  for (const method of Object.keys(NEEDS)) {
    const [code] = (await outcome(socket, method, await paramsOf(method, about))) as string[];
    expect([method, code]).toEqual([method, "NOT_FOUND"]);
  }
});

describe("a grant that is taken back", () => {
  test("ends what is followed in the middle of an answer, over sockets, event streams and the stream of one run", async () => {
    const { name, session_id } = await made();
    await owner.call("session.share", { session_id: name, user: "guest", role: "editor" });
    stack.model.reply().text("so far").hang();
    await using socket = await guest.connect();
    const { run_id } = await socket.request("chat.send", { session_id, message: "go" });
    await socket.nextEvent("message.delta");
    const events = await guest.events(`/api/v1/sessions/${session_id}/events`);
    const oneshot = await guest.events(`/api/v1/stream/${session_id}?run=${run_id}`);
    await events.next(({ event }) => event === "session.synced");
    await oneshot.next(({ data }) => data.includes("so far"));
    const since = performance.now();
    await owner.call("session.unshare", { session_id: name, user: "guest" });
    const told = await socket.nextEvent("session.unsubscribed", 1_000);
    expect(told.json.payload).toEqual({ session_id, reason: "revoked" });
    await Promise.all([events.rest(), oneshot.rest()]);
    expect(performance.now() - since).toBeLessThan(1_000);
    // The run is the session's: it goes on, and only those who may read it know how it ends.
    expect(await owner.call("run.get", { run_id })).toMatchObject({ status: "running" });
    expect(await refusal(guest.call("chat.abort", { run_id }))).toMatchObject({ code: "NOT_FOUND" });
    await owner.call("chat.abort", { run_id });
    await socket.request("heartbeat");
    const after = socket.frames.slice(
      socket.frames.findIndex(({ json }) => json.event === "session.unsubscribed") + 1,
    );
    expect(after.filter(({ raw }) => raw.includes(session_id))).toEqual([]);
  });

  test("ends the catching up of a reader that takes nothing, and it reads no more than was on its way", async () => {
    const { name, session_id } = await made();
    const content = "x".repeat(100_000);
    for (let i = 0; i < 60; i++) {
      await owner.call("chat.inject", { session_id: name, role: "user", content: `${i} ${content}` });
    }
    await owner.call("session.share", { session_id: name, user: "guest", role: "viewer" });
    const { epoch } = await guest.call("session.get", { session_id });
    const response = await fetch(
      `${stack.gateway.url}/api/v1/sessions/${session_id}/events?after=${epoch}.0`,
      {
        headers: guest.bearer,
      },
    );
    const reader = response.body?.getReader();
    await reader?.read();
    await owner.call("session.unshare", { session_id: name, user: "guest" });
    await owner.call("chat.inject", { session_id: name, role: "user", content: "not for them" });
    let text = "";
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    expect(text).toContain('"reason":"revoked"');
    expect(text).not.toContain("not for them");
    expect(text).not.toContain("session.synced");
  });

  test("from an editor leaves a viewer: reading goes on, writing ends", async () => {
    const { name, session_id } = await made();
    await owner.call("session.share", { session_id: name, user: "guest", role: "editor" });
    await using socket = await guest.connect();
    await socket.request("session.subscribe", { session_id });
    await owner.call("session.share", { session_id: name, user: "guest", role: "viewer" });
    expect(await outcome(socket, "chat.inject", { session_id, role: "user", content: "x" })).toEqual([
      "FORBIDDEN",
      "share",
      "viewer",
    ]);
    await owner.call("chat.inject", { session_id: name, role: "user", content: "still read" });
    await socket.next(({ raw }) => raw.includes("still read"));
  });

  test("is not given back by a repeated request, a cursor or another token of the same user", async () => {
    const { name, session_id } = await made();
    await owner.call("session.share", { session_id: name, user: "guest", role: "editor" });
    const params = { session_id, message: "once", idempotency_key: name };
    await say(guest, params);
    const { epoch, head } = await guest.call("session.get", { session_id });
    await owner.call("session.unshare", { session_id: name, user: "guest" });
    const other = await stack.guest({ user: "guest", role: "operator" });
    for (const person of [guest, other]) {
      expect(await refusal(person.call("chat.send", params))).toMatchObject({ code: "NOT_FOUND" });
      await using socket = await person.connect();
      const from = { session_id, epoch, after: head };
      expect(await refusal(socket.request("session.subscribe", from))).toMatchObject({ code: "NOT_FOUND" });
      const path = `/api/v1/sessions/${session_id}/events`;
      const resumed = await person.ask("GET", path, { headers: { "last-event-id": `${epoch}.${head}` } });
      expect(resumed.status).toBe(404);
    }
    const gone = await ask(`${stack.gateway.url}/api/v1/sessions/${session_id}`, "GET", {
      headers: guest.bearer,
    });
    expect(gone.status).toBe(404);
    const list = await eventually(
      () => guest.call("session.list", { query: "once" }),
      ({ sessions }) => sessions.length === 0,
    );
    expect(list).toEqual({ sessions: [] });
  });
});
