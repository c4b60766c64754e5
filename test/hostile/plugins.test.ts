import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { sayer } from "../adapter/plugin.fixture.ts";
import type { Arena } from "./beside.ts";
import { openArena, until } from "./beside.ts";
import { hooked, HOOKS, pluginsOf } from "./plugins.fixture.ts";

/** Plug-ins that do everything they should not, while somebody else talks with the gateway. */

const TIMEOUT_MS = 120_000;
const HOOK_MS = 200;
const CALL_MS = 400;

let arena: Arena;
let plugins: ReturnType<typeof pluginsOf>;
beforeAll(async () => {
  arena = await openArena({
    config: {
      limits: { hook_ms: HOOK_MS, plugin_call_ms: CALL_MS, plugin_load_ms: 1_000 },
      tools: { builtin: ["time"], policy: { "*": "allow" } },
    },
    errors: [
      "a plug-in failed and is unloaded",
      "a plug-in cannot be loaded",
      "something failed that nobody",
    ],
  });
  plugins = pluginsOf(arena);
});
afterAll(() => arena[Symbol.asyncDispose]());
beforeEach(() => plugins.clear());

let sessions = 0;
/** A message that has a tool called, to its end; what is in the log of it. */
async function talk(): Promise<readonly string[]> {
  const session_id = `talk-${++sessions}`;
  const { run_id } = await arena.call("chat.send", { session_id, message: "what time is it? /time" });
  const run = await arena.call("run.wait", { run_id, timeout_ms: 20_000 });
  expect(run).toMatchObject({ status: "completed" });
  const { messages } = await arena.call("chat.history", { session_id });
  return (messages as { role: string; content: string }[]).map(({ role, content }) =>
    role === "user" ? content : role,
  );
}
const TALKED = ["what time is it? /time", "assistant", "tool", "assistant"];

const WAYS: Readonly<Record<string, string>> = {
  throws: `() => { throw new Error("broken"); }`,
  rejects: `async () => { await Bun.sleep(1); throw new Error("broken"); }`,
  "never settles": `() => new Promise(() => {})`,
  "answers with a trap": `() => ({ get refuse() { throw new Error("broken"); }, get then() { throw new Error("broken"); } })`,
};

for (const [way, body] of Object.entries(WAYS)) {
  for (const isolate of ["", "isolate: true,"]) {
    if (isolate !== "" && way === "answers with a trap") continue;
    const where = isolate === "" ? "" : ", in a worker";
    test(
      `every hook that ${way}${where}: the message, the call and the answer are as without it, and it is out`,
      () =>
        arena.beside(async (round) => {
          await plugins.clear();
          const names = HOOKS.map((hook) => `bad-${round}-${hook}`);
          for (const [i, hook] of HOOKS.entries()) {
            await plugins.put(`bad-${round}-${hook}`, hooked(names[i] ?? "", hook, body, isolate));
          }
          await plugins.reload();
          await plugins.become("ready", names);
          expect(await talk()).toEqual(TALKED);
          for (const { reason } of await plugins.become("failed", names))
            expect(reason).toStartWith("hook: ");
          expect(await talk()).toEqual(TALKED);
        }),
      TIMEOUT_MS,
    );
  }
}

test(
  "one that spins in a worker, in a method, a tool, a hook, a listener or a route, is ended; nobody waits for it",
  () =>
    arena.beside(async (round) => {
      await plugins.clear();
      const spin = "(() => { for (;;); })()";
      const alone = "isolate: true,";
      const parts: Record<string, string> = {
        method: `methods: { "spin${round}.now": { scope: null, doc: "Spins.", params: Type.Object({}), result: Type.Object({}), run: () => ${spin} } },`,
        tool: `tools: { spin${round}: { description: "Spins.", parameters: Type.Object({}), timeout_ms: 300, run: () => ${spin} } },`,
        hook: `hooks: { before_message: ({ message }) => (message.includes("hook") ? ${spin} : undefined) },`,
        listener: `events: { "session.created": () => ${spin} },`,
        route: `routes: { "GET /": { scope: null, doc: "Spins.", run: () => ${spin} } },`,
      };
      const plugin = (name: string): string => `spin-${name}-${round}`;
      for (const [name, part] of Object.entries(parts)) {
        await plugins.put(
          plugin(name),
          `import { definePlugin, Type } from "agentbus/plugin";\nexport default definePlugin({ name: "${plugin(name)}", ${alone} ${part} });`,
        );
      }
      await plugins.reload();
      const names = Object.keys(parts).map(plugin);
      await plugins.become("ready", names);
      const headers = { authorization: `Bearer ${arena.gateway.token}` };
      const session_id = `spin-${round}-${++sessions}`;
      const [method, , route] = await Promise.all([
        arena.call(`spin${round}.now`).catch((error: unknown) => String(error)),
        arena.call("chat.send", { session_id, message: `a hook and /spin${round}` }),
        arena.ask("GET", `/plugins/${plugin("route")}`, { headers }),
      ]);
      expect(method).toContain("TIMEOUT");
      expect(route.status).toBe(408);
      await plugins.become("failed", names);
      expect(await talk()).toEqual(TALKED);
    }),
  TIMEOUT_MS,
);

test(
  "errors that nobody waits for, in hooks, methods and timers, end the plug-in alone",
  () =>
    arena.beside(async (round) => {
      await plugins.clear();
      const stray = `(void Promise.reject(new Error("stray")), setTimeout(() => { throw new Error("stray"); }, 1), undefined)`;
      for (const isolate of ["", "isolate: true,"]) {
        const name = `stray${round}${isolate === "" ? "" : "alone"}`;
        await plugins.put(name, hooked(name, "before_message", `() => ${stray}`, isolate));
        await plugins.reload();
        await plugins.become("ready", [name]);
        expect(await talk()).toEqual(TALKED);
        await plugins.become("failed", [name]);
      }
    }),
  TIMEOUT_MS,
);

test(
  "one that takes much memory in a worker gives it back when it goes",
  () =>
    arena.beside(async (round) => {
      await plugins.clear();
      const name = `greedy${round}`;
      const hold = `const held: Uint8Array[] = (globalThis as Record<string, unknown>).held = [];`;
      const says = `(held.push(new Uint8Array(32 * 1024 * 1024).fill(1)), String(held.length))`;
      const text = sayer(name, says, hold.replace(": Uint8Array[]", ": any")).replace(
        "methods:",
        "isolate: true,\n  methods:",
      );
      await plugins.put(name, text);
      await plugins.reload();
      // In pieces: pages that nothing ever used can take a second for all of it, and a call may take CALL_MS.
      for (let piece = 1; piece <= 8; piece++)
        expect(await arena.call(`${name}.say`)).toEqual({ said: String(piece) });
      expect(await talk()).toEqual(TALKED);
      await plugins.clear();
    }),
  TIMEOUT_MS,
);

test(
  "what it left running after it was unloaded does not run: intervals, timeouts that begin anew",
  () =>
    arena.beside(async (round) => {
      await plugins.clear();
      const name = `left${round}`;
      const log = `(globalThis as any).left_log`;
      const head = `setInterval(() => ${log}?.info({}, "still here ${round}"), 5);
const again = (): void => void setTimeout(() => { ${log}?.info({}, "still here ${round}"); again(); }, 5);
again();`;
      const setup = `setup: (_gateway, { log }) => { (globalThis as any).left_log = log; },\n  methods:`;
      await plugins.put(name, sayer(name, `"x"`, head).replace("methods:", setup));
      await plugins.reload();
      const heard = (): number => arena.gateway.log.filter(({ msg }) => msg === `still here ${round}`).length;
      await until(() => heard() > 2, "its timers");
      await plugins.clear();
      // What was said by then has been read once something later is.
      await arena.call("chat.send", { session_id: `left-${++sessions}`, message: "hi" });
      const before = heard();
      await Bun.sleep(200);
      expect(heard()).toBe(before);
    }),
  TIMEOUT_MS,
);
