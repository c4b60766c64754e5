import { afterAll, beforeAll, expect, test } from "bun:test";
import { PARTS } from "./access-secrets.ts";
import { METHOD_CASES, WORLD_CONFIG } from "./method-cases.ts";
import type { World } from "./world.ts";
import { createWorld } from "./world.ts";
import type { Stack } from "./stack.ts";
import { ask, ended, refusal, startStack } from "./stack.ts";

/** What scopes and owners mean where the matrix of access does not reach. */

interface Described {
  readonly name: string;
  readonly scope: string | null;
  readonly aliases: readonly string[];
}

let stack: Stack;
let world: World;
beforeAll(async () => {
  stack = await startStack({ config: WORLD_CONFIG });
  world = await createWorld(stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

test("who may write and not read is told where the answer is, and none of it", async () => {
  const writer = await stack.guest({ user: "owner", scopes: ["chat.write"] });
  await using socket = await writer.connect();
  const sent = await socket.request("chat.send", { session_id: "write-only", message: "hello" });
  expect(sent).toMatchObject({ status: "started", subscribed: false });
  await ended(stack.owner, sent.run_id);
  // What was published before this answer was read before it.
  await socket.request("heartbeat");
  const events = socket.frames.filter(({ json }) => json.type === "event").map(({ json }) => json.event);
  expect(events).toEqual(["connect.challenge"]);
});

test("a method by another name needs what it needs by its own", async () => {
  const { methods } = await stack.owner.call("system.describe");
  const named = methods.flatMap(({ name, scope, aliases }: Described) =>
    aliases.map((alias) => ({ alias, name, scope })),
  ) as { alias: string; name: string; scope: string }[];
  expect(named.length).toBeGreaterThan(10);
  for (const { alias, name, scope } of named) {
    const path = `/api/v1/rpc/${alias}`;
    const params = (await METHOD_CASES[name]?.params(world)) ?? {};
    expect([alias, (await ask(`${stack.gateway.url}${path}`, "POST", { body: params })).status]).toEqual([
      alias,
      401,
    ]);
    const socketOnly = METHOD_CASES[name]?.socket !== undefined;
    const lacking = await stack.guest({ user: "owner", scopes: PARTS.filter((each) => each !== scope) });
    const { status } = await lacking.ask("POST", path, { body: params });
    expect([alias, status]).toEqual([alias, socketOnly ? 400 : 403]);
    await using socket = await lacking.connect();
    expect([alias, await refusal(socket.request(alias, params))]).toMatchObject([
      alias,
      { code: "FORBIDDEN", details: { kind: "scope", scope } },
    ]);
    const right = await stack.guest({ user: "owner", scopes: [scope] });
    await using open = await right.connect();
    expect(await open.request(alias, params)).toBeObject();
  }
});

test("admin means every scope", async () => {
  const { scopes: all } = await stack.owner.call("token.create", { name: "all", scopes: ["admin"] });
  expect(all.toSorted()).toEqual([...PARTS, "admin"].sort());
});

test("another user's session is nowhere, in the same words as one that does not exist", async () => {
  const eve = await stack.guest({ user: "eve", scopes: PARTS });
  const { session_id: hidden } = await stack.owner.call("session.create");
  await using socket = await eve.connect();
  const calls: [string, Record<string, unknown>][] = [
    ["session.get", {}],
    ["session.update", { title: "x" }],
    ["session.fork", {}],
    ["session.delete", {}],
    ["session.share", { user: "eve", role: "editor" }],
    ["session.unshare", { user: "owner" }],
    ["session.subscribe", {}],
    ["session.unsubscribe", {}],
    ["presence.list", {}],
    ["chat.send", { message: "x" }],
    ["chat.history", {}],
    ["chat.abort", {}],
    ["chat.inject", { role: "user", content: "x" }],
    ["run.list", {}],
    ["event.send", { event: "app.x", payload: {} }],
    ["event.broadcast", { event: "app.x", payload: {} }],
  ];
  for (const [name, params] of calls) {
    const tell = (session_id: string): Promise<unknown> => {
      const about_it = name === "event.broadcast" ? { filter: { session_id } } : { session_id };
      return socket.request(name, { ...params, ...about_it }).then(
        () => "answered",
        ({ code, message, details, retryable }) => ({ code, message, details, retryable }),
      );
    };
    const [known, unknown] = [await tell(hidden), await tell("ses_000000000000000000000000")];
    expect([name, known]).toEqual([name, unknown]);
    expect([name, known]).toMatchObject([name, { code: "NOT_FOUND", details: { kind: "session" } }]);
  }
  for (const name of ["run.get", "run.wait"]) {
    const refused = { code: "NOT_FOUND", details: { kind: "run" } };
    await expect(socket.request(name, { run_id: world.run_id })).rejects.toMatchObject(refused);
    await expect(socket.request(name, { run_id: "run_unknown" })).rejects.toMatchObject(refused);
  }
  await expect(socket.request("chat.abort", { run_id: world.run_id })).rejects.toMatchObject({
    code: "NOT_FOUND",
    details: { kind: "run" },
  });
  expect(await socket.request("session.list")).toEqual({ sessions: [] });
  expect(await socket.request("run.list")).toEqual({ runs: [] });
});
