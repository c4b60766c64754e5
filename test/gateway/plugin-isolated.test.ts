import { expect, test } from "bun:test";
import { putPlugin, untilPlugin } from "./plugins.fixture.ts";
import { ask, eventually, refusal, startStack } from "./stack.ts";

/** With `isolate: true` a plug-in is what it is without: nobody who uses it can tell. */

const EVERYTHING = `import { definePlugin, GatewayError, Type } from "agentbus/plugin";

let heard = 0;

export default definePlugin({
  name: "apart",
  isolate: true,
  methods: {
    "apart.heard": {
      scope: "chat.read", doc: "How much it heard.",
      params: Type.Object({ least: Type.Integer() }), result: Type.Object({ heard: Type.Integer(), user: Type.String() }),
      run({ least }, { user }) {
        if (heard < least) throw new GatewayError("CONFLICT", "not yet", { details: { heard } });
        return { heard, user };
      },
    },
  },
  tools: {
    apart: {
      description: "Answers.", parameters: Type.Object({ word: Type.String() }),
      run: ({ word }, { session_id }) => word + " in " + session_id.slice(0, 4),
    },
  },
  routes: {
    "POST /echo/:word": {
      scope: "chat.read", doc: "Answers.",
      run: async (request, { params, user }) =>
        new Response(params.word + " " + user + " " + (await request.text()), { status: 201, headers: { "x-from": "a worker" } }),
    },
    "GET /": { open: true, doc: "What it is.", run: () => ({ apart: true }) },
  },
  events: { "message.completed": () => { heard++; } },
  hooks: {
    before_message: ({ message }) => (message === "no" ? { refuse: "it says no" } : { message: message + "!" }),
  },
  async setup(gateway, { log }) {
    const { name } = await gateway.call("system.info", {}, { user: "ann" });
    log.info({ name }, "it is set up");
  },
});
`;

test("its methods, tools, routes, listeners, hooks and setup work as anywhere", async () => {
  await using stack = await startStack({ config: { tools: { policy: { apart: "allow" } } } });
  await putPlugin(stack, "apart.ts", EVERYTHING);
  const view = await untilPlugin(stack, "apart", "ready");
  expect(view).toMatchObject({ isolated: true, hooks: ["before_message"], events: ["message.completed"] });
  expect(stack.gateway.log).toContainEqual(
    expect.objectContaining({ plugin: "apart", name: "agentbus", msg: "it is set up" }),
  );
  const ann = await stack.guest({ user: "ann", role: "user" });
  expect(await refusal(ann.call("apart.heard", { least: 1 }))).toMatchObject({
    code: "CONFLICT",
    message: "not yet",
    details: { heard: 0 },
  });
  expect(await refusal(ann.call("chat.send", { session_id: "s", message: "no" }))).toMatchObject({
    code: "FORBIDDEN",
    message: "apart refused this message: it says no",
  });
  stack.model.reply().tool("apart", { word: "here" });
  stack.model.reply().text("done");
  const { run_id } = await ann.call("chat.send", { session_id: "s", message: "go" });
  expect(await ann.call("run.wait", { run_id })).toMatchObject({ status: "completed" });
  const { messages } = await ann.call("chat.history", { session_id: "s" });
  expect(messages.map(({ content }: { content: string }) => content)).toEqual([
    "go!",
    "",
    "here in ses_",
    "done",
  ]);
  await eventually(
    async () => ann.call("apart.heard", { least: 0 }),
    ({ heard, user }) => heard === 2 && user === "ann",
  );
  const echoed = await ann.ask("POST", "/plugins/apart/echo/hi", {
    body: "there",
    headers: { "content-type": "text/plain" },
  });
  expect([echoed.status, echoed.text, echoed.headers.get("x-from")]).toEqual([
    201,
    "hi ann there",
    "a worker",
  ]);
  expect((await ask(`${stack.gateway.url}/plugins/apart`, "GET")).json).toEqual({ apart: true });
  await putPlugin(stack, "apart.ts", EVERYTHING.replace("apart: true }", "apart: 2 }"));
  await eventually(
    async () => (await ask(`${stack.gateway.url}/plugins/apart`, "GET")).json,
    (json) => json?.apart === 2,
  );
  expect((await stack.owner.call("system.stats")).plugin_faults).toBe(0);
});
