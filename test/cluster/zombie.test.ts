import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ended, eventually, refusal } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { Transport, Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import { talk, untilDone } from "./commands.ts";
import type { ClusterNode } from "./nodes.ts";
import { startNodes, within } from "./nodes.ts";
import { expectTruth, readTruth, settled } from "./truth.ts";

setDefaultTimeout(180_000);

/** A page that counts who reads it: what a tool did outside. */
function counter(): Disposable & {
  readonly url: string;
  readonly address: string;
  readonly hits: () => number;
} {
  let hits = 0;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response(`visit ${++hits}`),
  });
  const address = `127.0.0.1:${server.port}`;
  return {
    address,
    url: `http://${address}/`,
    hits: () => hits,
    [Symbol.dispose]: () => void server.stop(true),
  };
}

/** A folder with one plug-in, for its owner alone. */
async function pluginFolder(
  name: string,
  text: string,
): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "agentbus-plugins-"));
  await writeFile(join(path, `${name}.ts`), text, { mode: 0o600 });
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** How long the model says nothing before it calls the tool: the node is asleep by then. */
const BEFORE_TOOL_MS = 10_000;
const TALKS = ["talk", "tool", "asks", "idle"] as const;

describe.skipIf(!hasPostgres)("a node that was asleep for longer than its lease", () => {
  test("appends nothing and starts no tool, follows whoever has its sessions now, and goes on serving", async () => {
    using page = counter();
    const tools = {
      builtin: ["http_fetch", "time"],
      http_allow: [page.address],
      policy: { http_fetch: "allow", time: "ask" },
    };
    await using nodes = await startNodes({ config: { tools } });
    const [a, b] = [nodes.node(0), nodes.node(1)];
    // The tool is called, and its page read, where nobody falls asleep.
    nodes.model.reply().tool("http_fetch", { url: page.url });
    expect(await talk(a.owner, "idle", "first")).toBe("completed");
    expect(page.hits()).toBe(1);

    nodes.model.reply().tokens(4_000, { everyMs: 10 });
    const send = (session_id: string) =>
      untilDone(() =>
        a.owner.call("chat.send", { session_id, message: "first", idempotency_key: session_id }),
      );
    const told = await send("talk");
    await nodes.model.waitForRequests(3);
    nodes.model.reply().tool("time", {});
    const asks = await send("asks");
    await nodes.model.waitForRequests(4);
    nodes.model.reply().text("let me look").wait(BEFORE_TOOL_MS).tool("http_fetch", { url: page.url });
    const tool = await send("tool");

    await using stack = new AsyncDisposableStack();
    const watch = (node: ClusterNode, over: Transport, session_id: string, stall_ms: number): Watcher =>
      stack.use(
        startWatcher({
          name: `${over} at ${node.name}: ${session_id}`,
          session_id,
          token: node.token,
          route: () => node.url,
          transport: () => over,
          start: over === "ws" ? "start" : "nothing",
          stall_ms,
        }),
      );
    // Some wait for as long as it takes, others come again and again.
    const watchersOf = (session_id: string): Watcher[] => [
      watch(a, "ws", session_id, 120_000),
      watch(a, "sse", session_id, 120_000),
      watch(a, "sse", session_id, 2_500),
      watch(b, "ws", session_id, 120_000),
    ];
    const watchers = new Map(TALKS.map((session_id) => [session_id, watchersOf(session_id)]));
    const all = [...watchers.values()].flat();
    await Promise.all(all.map((watcher) => watcher.until(() => watcher.synced)));
    const [asking] = watchers.get("asks") ?? [];
    await asking?.until(() => asking.transcript.approvals.length === 1);
    const approval_id = asking?.transcript.approvals[0]?.approval_id;

    a.pause();
    const fences = new Map<string, number>();
    for (const id of TALKS) fences.set(id, await fenceOf(id));
    async function fenceOf(id: string): Promise<number> {
      const [row] = await nodes.sql`SELECT fence::int AS fence FROM agentbus.sessions WHERE name = ${id}`;
      return row.fence;
    }
    for (const { run_id } of [told, asks, tool])
      expect(await ended(b.owner, run_id)).toMatchObject({ status: "interrupted", reason: "restart" });
    // What nothing ran in is taken by whoever needs it.
    expect(await talk(b.owner, "idle", "second")).toBe("completed");
    expect(await talk(b.owner, "talk", "second")).toBe("completed");
    for (const id of TALKS) expect(await fenceOf(id)).toBeGreaterThan(fences.get(id) ?? 0);
    await eventually(
      () => nodes.model.requests[4]?.state,
      (state) => state === "ended",
      30_000,
    );
    const before = new Map<string, number>();
    for (const id of TALKS) before.set(id, (await readTruth(nodes.sql, id)).head);

    a.resume();
    await within(
      () => a.owner.call("system.status"),
      ({ status }) => status === "healthy",
      5_000,
    );
    for (const id of TALKS) {
      const truth = await readTruth(nodes.sql, id);
      expect({ id, head: truth.head }).toEqual({ id, head: before.get(id) ?? 0 });
      for (const watcher of watchers.get(id) ?? []) await expectTruth(truth, watcher);
    }
    expect(
      await refusal(a.owner.call("tool.approve", { session_id: "asks", approval_id, decision: "allow" })),
    ).toBeDefined();
    // It serves again: what others have through them, what nobody has by itself.
    for (const id of TALKS) expect(await talk(a.owner, id, "third")).toBe("completed");
    expect(await talk(a.owner, "new", "first")).toBe("completed");
    await settled(nodes.sql);
    for (const id of TALKS) {
      const truth = await readTruth(nodes.sql, id);
      for (const watcher of watchers.get(id) ?? []) await expectTruth(truth, watcher);
    }
    expect(page.hits()).toBe(1);
    expect(await Promise.race([a.gateway.exited, "it runs"])).toBe("it runs");
  });

  test("between a call in the log and the start of its tool: it is not started, and the run ends once", async () => {
    using page = counter();
    // A hook that waits for an answer is what lies between the two.
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    await using hook = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      idleTimeout: 0,
      async fetch() {
        asked.resolve();
        await answer.promise;
        return new Response("yes");
      },
    });
    await using folder = await pluginFolder(
      "asks",
      `export default { name: "asks", hooks: { before_tool_call: async () => void (await (await fetch("${hook.url}")).text()) } };`,
    );
    const config = {
      tools: { builtin: ["http_fetch"], http_allow: [page.address], policy: { http_fetch: "allow" } },
      limits: { hook_ms: 120_000 },
    };
    const plugins = { directories: [folder.path] };
    await using nodes = await startNodes({ config, configOf: (at) => (at === 0 ? { plugins } : {}) });
    const [a, b] = [nodes.node(0), nodes.node(1)];
    nodes.model.reply().text("let me look").tool("http_fetch", { url: page.url });
    const { run_id } = await a.owner.call("chat.send", { session_id: "tool", message: "look" });
    await asked.promise;
    const types = await nodes.sql`SELECT type FROM agentbus.events WHERE run_id = ${run_id} ORDER BY seq`;
    expect(types.at(-1)).toEqual({ type: "message.completed" });
    a.pause();
    expect(await ended(b.owner, run_id)).toMatchObject({ status: "interrupted", reason: "restart" });
    const { head } = await readTruth(nodes.sql, "tool");
    // It is there to be read as soon as it wakes.
    answer.resolve();
    await Bun.sleep(500);
    a.resume();
    await within(
      () => a.owner.call("system.status"),
      ({ status }) => status === "healthy",
      5_000,
    );
    await Bun.sleep(1_000);
    expect(page.hits()).toBe(0);
    expect(await readTruth(nodes.sql, "tool")).toMatchObject({ head });
    expect(await talk(a.owner, "tool", "again")).toBe("completed");
    expect(page.hits()).toBe(0);
  });
});
