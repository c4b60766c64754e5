import { expect } from "bun:test";
import { newDevice } from "../support/device.ts";
import { AUTOMATION_CASES } from "./method-cases-automation.ts";
import { TOOLS_CONFIG } from "./tool-asks.ts";
import type { World } from "./world.ts";

export interface MethodCase {
  /** Params of a call that succeeds, made anew for each. */
  readonly params: (world: World) => Record<string, unknown> | Promise<Record<string, unknown>>;
  /** Only a socket can ask it; "own": it answers for the handshake or the end of the socket, and wants one of its own. */
  readonly socket?: "only" | "own";
  /** The scope that what it changes was made with: who changes it needs that, too. */
  readonly lent?: string;
  /** What the answer has at the least. */
  readonly answer?: (world: World) => Record<string, unknown>;
}

const nothing = (): Record<string, unknown> => ({});
const session = ({ session_id }: World): Record<string, unknown> => ({ session_id });
const fresh = async (world: World): Promise<Record<string, unknown>> => ({
  session_id: await world.freshSession(),
});

/** Devices are paired in this mode; many of them ask from here. */
export const WORLD_CONFIG = {
  auth: { mode: "device" },
  limits: {
    pairing_requests_per_address: 64,
    hooks_per_user: 100_000,
    schedules_per_user: 100_000,
    webhooks_per_user: 100_000,
  },
  tools: TOOLS_CONFIG,
};

/** A call that succeeds, for every method there is. */
export const METHOD_CASES: Readonly<Record<string, MethodCase>> = {
  connect: {
    params: ({ stack }) => ({
      client_name: "case",
      auth_token: stack.owner.token,
      protocol: { min: 1, max: 1 },
    }),
    socket: "own",
    answer: () => ({ server_info: { name: "agentbus", protocol_version: 1 }, auth_info: { user: "owner" } }),
  },
  disconnect: { params: nothing, socket: "own", answer: nothing },
  heartbeat: { params: nothing, socket: "only" },
  "system.info": { params: nothing, answer: () => ({ name: "agentbus", protocol_version: 1 }) },
  "system.status": {
    params: nothing,
    answer: () => ({
      status: "healthy",
      storage: { kind: Bun.env["AGENTBUS_TEST_STORE"] ?? "sqlite", ok: true },
      providers: expect.arrayContaining([{ name: "test", ready: true }]),
    }),
  },
  "system.stats": { params: nothing, answer: () => ({ active_runs: 0, queued_runs: 0 }) },
  "system.describe": { params: nothing, answer: () => ({ protocol_version: 1 }) },
  "client.list": { params: nothing },
  "client.disconnect": {
    params: async (world) => ({ connection_id: (await world.freshSocket()).connection_id, reason: "a case" }),
    answer: () => ({ disconnected: true }),
  },
  "chat.send": {
    params: async (world) => ({
      ...(await fresh(world)),
      message: "hello",
      type: "text",
      metadata: { a: [1] },
    }),
    answer: () => ({ status: "started", seq: 2, from: 1 }),
  },
  "chat.history": {
    params: session,
    answer: ({ session_id, message_id }) => ({
      session_id,
      total: 2,
      has_more: false,
      messages: [{ message_id }, {}],
    }),
  },
  "chat.abort": { params: session, answer: () => ({ run_ids: [], status: "idle" }) },
  "chat.inject": {
    params: async (world) => ({
      ...(await fresh(world)),
      role: "system",
      content: "note",
      metadata: { a: 1 },
    }),
    answer: () => ({ seq: 2 }),
  },
  "session.create": {
    params: () => ({
      title: "t",
      model: "test/fake-1",
      system_prompt: "be kind",
      metadata: { a: { b: null } },
    }),
    answer: () => ({ title: "t", owner: "owner", model: "test/fake-1", system_prompt: "be kind", head: 1 }),
  },
  "session.get": { params: session, answer: session },
  "session.update": {
    params: async (world) => ({ ...(await fresh(world)), title: "new", archived: true }),
    answer: () => ({ title: "new", archived: true, head: 2 }),
  },
  "session.fork": { params: session, answer: () => ({ message_count: 2, owner: "owner" }) },
  "session.import": {
    params: () => ({
      session: { digest: crypto.randomUUID().replaceAll("-", "").padEnd(64, "0") },
      messages: [{ role: "user", status: "complete", content: "then", timestamp: 1 }],
      done: true,
    }),
    answer: () => ({ status: "done", messages: 1 }),
  },
  "session.compact": {
    params: async (world) => {
      const { session_id } = await fresh(world);
      await world.stack.owner.call("chat.inject", { session_id, role: "user", content: "remember me" });
      return { session_id };
    },
    answer: () => ({ status: "started", seq: 3 }),
  },
  "session.title": {
    params: async (world) => {
      const { session_id } = await fresh(world);
      await world.stack.owner.call("chat.inject", { session_id, role: "user", content: "name me" });
      return { session_id };
    },
    answer: () => ({ title: expect.stringContaining("t0") }),
  },
  "session.search": { params: () => ({ query: "hello there", limit: 3 }) },
  "session.list": { params: () => ({ limit: 3, archived: false, query: "wor", updated_after: 0 }) },
  "session.subscribe": {
    params: session,
    socket: "only",
    answer: ({ session_id }) => ({
      mode: "snapshot",
      snapshot: { session: { session_id }, has_more: false },
    }),
  },
  "session.unsubscribe": { params: session, socket: "only" },
  "session.delete": { params: fresh, answer: nothing },
  "session.share": {
    params: async (world) => ({ ...(await fresh(world)), user: "ann", role: "viewer" }),
    answer: nothing,
  },
  "session.unshare": { params: async (world) => ({ ...(await fresh(world)), user: "ann" }), answer: nothing },
  "presence.list": { params: session },
  "run.create": {
    params: async (world) => {
      const { session_id } = await fresh(world);
      await world.stack.owner.call("chat.inject", { session_id, role: "user", content: "answer me" });
      return { session_id };
    },
    answer: () => ({ status: "started", seq: 3 }),
  },
  "run.get": {
    params: ({ run_id }) => ({ run_id }),
    answer: ({ run_id }) => ({ run_id, status: "completed" }),
  },
  "run.list": { params: session, answer: ({ run_id }) => ({ runs: [{ run_id }] }) },
  "run.wait": {
    params: ({ run_id }) => ({ run_id, timeout_ms: 100 }),
    answer: ({ run_id }) => ({ run_id, status: "completed" }),
  },
  "model.list": { params: nothing, answer: () => ({ default: "test/fake-1" }) },
  "system.reload": { params: nothing, answer: () => ({ changed: [], restart_needed: [] }) },
  "skill.list": { params: nothing, answer: () => ({ skills: [] }) },
  "skill.reload": { params: nothing, answer: () => ({ changed: [] }) },
  "plugin.list": { params: nothing, answer: () => ({ plugins: [] }) },
  "plugin.reload": { params: nothing, answer: () => ({ changed: [] }) },
  "event.broadcast": {
    params: () => ({ event: "notification", payload: { text: "hi" }, filter: { user: "nobody" } }),
  },
  "event.send": {
    params: async (world) => ({
      ...(await fresh(world)),
      event: "app.case",
      payload: { a: 1 },
      durable: true,
    }),
    answer: () => ({ seq: 2 }),
  },
  "tool.list": {
    params: nothing,
    answer: () => ({ tools: [{ name: "time", source: "builtin", policy: "ask" }], servers: [] }),
  },
  "tool.approve": {
    params: async (world) => ({ ...(await world.freshApproval()), decision: "allow", remember: "session" }),
    answer: () => ({ approval: { name: "time", decision: "allow" } }),
  },
  ...AUTOMATION_CASES,
  "token.create": {
    params: () => ({ name: "case", user: "ann", role: "viewer", expires_in_secs: 60 }),
    answer: () => ({ name: "case", user: "ann", scopes: ["chat.read"] }),
  },
  "token.list": { params: nothing },
  "token.rotate": { params: async (world) => ({ token_id: (await world.freshToken()).token_id }) },
  "token.revoke": {
    params: async (world) => ({ token_id: (await world.freshToken()).token_id }),
    answer: () => ({ revoked: true }),
  },
  "auth_session.create": { params: nothing, answer: () => ({ user: "owner" }) },
  "auth_session.validate": {
    params: async ({ stack }) => ({
      session_token: (await stack.owner.call("auth_session.create")).session_token,
    }),
    answer: () => ({ valid: true, user: "owner" }),
  },
  "auth_session.list": { params: nothing },
  "auth_session.revoke": {
    params: async ({ stack }) => ({
      auth_session_id: (await stack.owner.call("auth_session.create")).auth_session_id,
    }),
    answer: () => ({ revoked: true }),
  },
  "ticket.create": { params: nothing },
  "user.list": { params: () => ({ limit: 1 }), answer: () => ({ users: [{}], next: expect.any(String) }) },
  "user.disable": {
    params: async (world) => ({ user: await world.freshUser(), disabled: true }),
    answer: () => ({ disabled: true }),
  },
  "user.delete": {
    params: async (world) => ({
      user: await world.freshUser(),
      sessions: "transfer",
      transfer_to: await world.freshUser(),
    }),
    answer: () => ({ deleted: true, sessions: 0 }),
  },
  "usage.get": {
    params: () => ({ by: "model", since: "2020-01-01", until: "2999-12-31", limit: 1 }),
    answer: () => ({ currency: "USD", groups: [{ model: expect.stringContaining("fake-1") }] }),
  },
  "log.tail": {
    params: () => ({ after: 0, limit: 2, level: "info", component: "store" }),
    answer: () => ({ lines: [], gap: true }),
  },
  "audit.list": { params: () => ({ limit: 3, user: "owner", action: "login", outcome: "ok", since: 0 }) },
  "device.register": {
    params: () => ({ public_key: newDevice().public_key, name: "case", user: "owner", scopes: [] }),
    answer: () => ({ name: "case", user: "owner", scopes: [] }),
  },
  "device.list": { params: nothing },
  "device.approve": {
    params: async (world) => ({ code: await world.freshPairing(), scopes: [], name: "case" }),
    answer: () => ({ name: "case" }),
  },
  "device.reject": {
    params: async (world) => ({ code: await world.freshPairing() }),
    answer: () => ({ rejected: true }),
  },
  "device.revoke": {
    params: async (world) => ({ device_id: await world.freshDevice() }),
    answer: () => ({ revoked: true }),
  },
  "device.rename": {
    params: async (world) => ({ device_id: await world.freshDevice(), name: "new" }),
    answer: () => ({ name: "new" }),
  },
};
