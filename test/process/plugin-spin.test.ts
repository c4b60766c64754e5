import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sayer } from "../adapter/plugin.fixture.ts";
import { until } from "../support/engine.ts";
import { agentbus } from "../support/executable.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";

setDefaultTimeout(60_000);

const BLOCK_MS = 300;
const SPIN_MS = 1_500;
const SPIN = "for (;;);";
const KILLED = 128 + 9;

interface View {
  readonly name: string;
  readonly state: string;
  readonly reason?: string;
}

async function start(plugins: Readonly<Record<string, string>>, spin_ms = SPIN_MS) {
  const limits = { plugin_block_ms: BLOCK_MS, plugin_spin_ms: spin_ms };
  const gateway = await startGateway({ config: { limits } });
  const folder = join(gateway.data_dir, "plugins");
  const write = async (name: string, text: string): Promise<void> => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(join(folder, `.${name}.new`), text, { mode: 0o600 });
    await rename(join(folder, `.${name}.new`), join(folder, `${name}.ts`));
  };
  for (const [name, text] of Object.entries(plugins)) await write(name, text);
  return { gateway, write };
}

async function call<T>(gateway: RunningGateway, method: string, params: object = {}): Promise<T> {
  const response = await fetch(`${gateway.url}/api/v1/rpc/${method}`, {
    method: "POST",
    headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
    body: JSON.stringify(params),
  });
  if (!response.ok) throw new Error(`${method}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

async function state(gateway: RunningGateway, name: string): Promise<View> {
  const { plugins } = await call<{ plugins: View[] }>(gateway, "plugin.list");
  return plugins.find((each) => each.name === name) ?? { name, state: "unknown" };
}

async function becomes(gateway: RunningGateway, name: string, wanted: string): Promise<View> {
  for (;;) {
    const view = await state(gateway, name);
    if (view.state === wanted) return view;
    await Bun.sleep(20);
  }
}

async function doctor({ data_dir }: RunningGateway): Promise<unknown[]> {
  const { out } = await agentbus(["doctor", "--json", "--data-dir", data_dir], { cwd: data_dir });
  const { findings } = JSON.parse(out) as { findings: { check: string; finding: string }[] };
  return findings.filter(
    ({ check, finding }) => check === "plug-ins" && finding.includes("not loaded as it is"),
  );
}

const says = ({ log }: RunningGateway, text: string): boolean => log.some(({ msg }) => msg.includes(text));

const SPINS: Readonly<Record<string, string>> = {
  "in its method": sayer("spin", `(() => { ${SPIN} })()`),
  "in its method, after it waited for something": sayer(
    "spin",
    `(await Bun.sleep(1), (() => { ${SPIN} })())`,
  ),
  "in a timer that it began": sayer("spin", `(setTimeout(() => { ${SPIN} }, 1), "x")`),
};

for (const [where, text] of Object.entries(SPINS)) {
  test(`one that spins ${where} ends the process, which starts again without it and with all that was acknowledged`, async () => {
    const { gateway, write } = await start({ spin: text, other: sayer("other", `"here"`) });
    await using _gateway = gateway;
    await becomes(gateway, "spin", "ready");
    await becomes(gateway, "other", "ready");
    await call(gateway, "chat.send", { session_id: "s", message: "kept" });
    void call(gateway, "spin.say").catch(() => undefined);
    expect(await gateway.exited).toBe(KILLED);
    expect(says(gateway, "the plug-in spin (<data_dir>/plugins/spin.ts): it ")).toBe(true);
    await gateway.restart();
    const { reason } = await state(gateway, "spin");
    expect(reason).toStartWith("disabled: at ");
    expect(reason).toContain("and the gateway had to be ended");
    expect(await call<object>(gateway, "other.say")).toEqual({ said: "here" });
    const { messages } = await call<{ messages: { content: string }[] }>(gateway, "chat.history", {
      session_id: "s",
    });
    expect(messages[0]).toMatchObject({ content: "kept" });
    expect(await doctor(gateway)).toMatchObject([{ state: "warning" }]);
    // Another version of it is another matter.
    await write("spin", sayer("spin", `"mended"`));
    await becomes(gateway, "spin", "ready");
    expect(await call<object>(gateway, "spin.say")).toEqual({ said: "mended" });
    expect(await doctor(gateway)).toEqual([]);
  });
}

test("one that spins while it is loaded ends the process once", async () => {
  const { gateway, write } = await start({});
  await using _gateway = gateway;
  await write("spin", `${sayer("spin", `"x"`)}\n${SPIN}`);
  expect(await gateway.exited).toBe(KILLED);
  await gateway.restart();
  expect((await state(gateway, "spin")).reason).toStartWith("disabled: at ");
});

test("one that blocks for a while is named when it is over, and kept out at the next start", async () => {
  const block = `((end) => { while (Date.now() < end); return "over"; })(Date.now() + ${3 * BLOCK_MS})`;
  const { gateway } = await start({ block: sayer("block", block) });
  await using _gateway = gateway;
  await becomes(gateway, "block", "ready");
  expect(await call<object>(gateway, "block.say")).toEqual({ said: "over" });
  await until(() => says(gateway, "a plug-in let nothing else happen"));
  const line = gateway.log.find(({ msg }) => msg.startsWith("a plug-in let nothing else happen"));
  expect(line).toMatchObject({ level: "error", plugin: "block", source: "<data_dir>/plugins/block.ts" });
  expect(line?.["blocked_ms"]).toBeGreaterThanOrEqual(BLOCK_MS);
  expect(await doctor(gateway)).toMatchObject([{ state: "warning" }]);
  expect((await state(gateway, "block")).state).toBe("ready");
  gateway.kill();
  await gateway.restart();
  expect((await state(gateway, "block")).reason).toContain("it let nothing else happen for ");
  // Who asks for it gets it as it is.
  await call(gateway, "plugin.reload", { name: "block" });
  expect((await state(gateway, "block")).state).toBe("ready");
  expect(existsSync(join(gateway.data_dir, "plugins-blocked.json"))).toBe(false);
  gateway.kill();
  await gateway.restart();
  expect((await state(gateway, "block")).state).toBe("ready");
});

test("one that blocks after it waited for something, alone, is kept out too; of several each is named", async () => {
  const block = `(await Bun.sleep(1), ((end) => { while (Date.now() < end); return "over"; })(Date.now() + ${8 * BLOCK_MS}))`;
  const says_so = sayer("waits", `(log.info({}, "it waits"), await Bun.sleep(5_000), "x")`);
  const waits = says_so.replace("run: async ()", "run: async (_params, { log })");
  const { gateway } = await start({ block: sayer("block", block), waits }, 10 * SPIN_MS);
  await using _gateway = gateway;
  await becomes(gateway, "block", "ready");
  await becomes(gateway, "waits", "ready");
  const named = (): unknown[] =>
    gateway.log.flatMap(({ msg, ...line }) =>
      msg.startsWith("nothing else happened while a plug-in was at work") ? [line["plugin"]] : [],
    );
  const waiting = call(gateway, "waits.say");
  await until(() => says(gateway, "it waits"));
  await call(gateway, "block.say");
  // A machine that is busy may make others look busy as well, so not how often.
  await until(() => named().includes("block") && named().includes("waits"));
  expect(await doctor(gateway)).toEqual([]);
  await waiting;
  const before = named().length;
  await call(gateway, "block.say");
  await until(() => named().slice(before).includes("block"));
  const [finding] = await doctor(gateway);
  expect(finding).toMatchObject({
    state: "warning",
    finding: expect.stringContaining("block (<data_dir>/plugins/block.ts)") as unknown,
  });
});

test("an error in a plug-in that nobody waits for ends the plug-in, not the process", async () => {
  const stray = {
    rejects: `(void Promise.reject(new Error("stray")), "x")`,
    throws: `(setTimeout(() => { throw new Error("stray"); }, 1), "x")`,
    native: `(void fetch("http://127.0.0.1:1/"), "x")`,
    text: `(void Promise.reject("stray"), "x")`,
  };
  const plugins = Object.entries(stray).flatMap(([name, how]) => [
    [name, sayer(name, how)],
    [`alone_${name}`, sayer(`alone_${name}`, how).replace("methods:", "isolate: true,\n  methods:")],
  ]);
  const { gateway } = await start(Object.fromEntries(plugins) as Record<string, string>);
  await using _gateway = gateway;
  for (const [name] of plugins) {
    await becomes(gateway, String(name), "ready");
    expect(await call<object>(gateway, `${String(name)}.say`)).toEqual({ said: "x" });
  }
  expect((await becomes(gateway, "rejects", "failed")).reason).toBe(
    "a promise that nobody waited for: stray",
  );
  expect((await becomes(gateway, "throws", "failed")).reason).toBe("a callback: stray");
  for (const name of Object.keys(stray)) await becomes(gateway, `alone_${name}`, "failed");
  // What does not say where it comes from cannot be told from that of others: it is only told.
  await until(
    () =>
      gateway.log.filter(({ msg }) => msg.startsWith("something failed that nobody waited for, in one"))
        .length === 2,
  );
  expect((await state(gateway, "native")).state).toBe("ready");
});
