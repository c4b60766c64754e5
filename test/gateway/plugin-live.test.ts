import { expect, test } from "bun:test";
import { sayer } from "../adapter/plugin.fixture.ts";
import { putPlugin, untilPlugin } from "./plugins.fixture.ts";
import { startStack } from "./stack.ts";

/** Plug-ins come, change and go while a gateway is at work. */

test("no request falls between two versions", async () => {
  await using stack = await startStack({ config: { plugins: { auto_reload: false } } });
  const version = (number: number): string => sayer("one", `"${number}"`);
  await putPlugin(stack, "one.ts", version(0));
  await stack.owner.call("plugin.reload");
  await using socket = await stack.owner.connect({});
  const said: number[] = [];
  let isOver = false;
  const asking = (async () => {
    while (!isOver) said.push(Number((await socket.request("one.say")).said));
  })();
  for (let number = 1; number <= 10; number++) {
    await putPlugin(stack, "one.ts", version(number));
    await stack.owner.call("plugin.reload");
  }
  isOver = true;
  await asking;
  expect(said.toSorted((a, b) => a - b)).toEqual(said);
  expect(Number((await socket.request("one.say")).said)).toBe(10);
  expect((await stack.owner.call("system.stats")).errors).toEqual({});
});

const PROVIDER = `
const provider = {
  name: "mine",
  state: () => ({ name: "mine", ready: true }),
  models: () => ["parrot"],
  async *stream({ model, messages }) {
    yield { type: "text", text: model + ": " + messages.at(-1).content };
    yield { type: "usage", usage: { input_tokens: 1, output_tokens: 2 } };
    yield { type: "done", finish_reason: "stop" };
  },
};
export default { name: "one", providers: [provider] };
`;

test("a provider answers runs while its plug-in is there", async () => {
  await using stack = await startStack();
  await putPlugin(stack, "one.ts", PROVIDER);
  expect(await untilPlugin(stack, "one", "ready")).toMatchObject({ providers: ["mine"] });
  expect((await stack.owner.call("model.list")).models).toContainEqual({
    id: "mine/parrot",
    provider: "mine",
  });
  const ask = async (): Promise<Record<string, unknown>> => {
    const sent = { session_id: "s", message: "hello", model: "mine/parrot" };
    const { run_id } = await stack.owner.call("chat.send", sent);
    return stack.owner.call("run.wait", { run_id });
  };
  expect(await ask()).toMatchObject({
    status: "completed",
    model: "mine/parrot",
    usage: { input_tokens: 1, output_tokens: 2 },
  });
  const { messages } = await stack.owner.call("chat.history", { session_id: "s" });
  expect(messages.at(-1).content).toBe("parrot: hello");
  await putPlugin(
    stack,
    "one.ts",
    PROVIDER.replace(`yield { type: "text"`, `throw new Error("no"); yield { type: "text"`),
  );
  await untilPlugin(stack, "one", "ready");
  await stack.owner.call("plugin.reload");
  expect(await ask()).toMatchObject({ status: "failed", error: { code: "INTERNAL_ERROR" } });
  await untilPlugin(stack, "one", "failed");
  const { models } = await stack.owner.call("model.list");
  expect(models.map(({ provider }: { provider: string }) => provider)).not.toContain("mine");
});
