import { expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { putPlugin, untilPlugin } from "./plugins.fixture.ts";
import { ask, eventually, refusal, startStack } from "./stack.ts";

/** One TypeScript file in a folder, as the clients of the gateway see it. */

const WEATHER = `import { definePlugin, GatewayError, Type } from "agentbus/plugin";

const City = Type.Object({ city: Type.String({ minLength: 1 }) });

export default definePlugin({
  name: "weather",
  version: "1.0.0",
  description: "Knows the weather.",
  methods: {
    "weather.get": {
      scope: "chat.read",
      doc: "The weather of a city.",
      params: City,
      result: Type.Object({ sky: Type.String(), asked_by: Type.String() }),
      run({ city }, { user }) {
        if (city === "Atlantis") throw new GatewayError("NOT_FOUND", "there is no such city");
        return { sky: "clear", asked_by: user };
      },
    },
  },
  tools: {
    weather: { description: "The weather of a city.", parameters: City, run: ({ city }) => "clear in " + city },
  },
  routes: {
    "GET /": { open: true, doc: "What this is.", run: () => ({ about: "the weather" }) },
    "GET /of/:city": {
      scope: "chat.read",
      doc: "The weather of a city.",
      run: (request, { params, user, remote }) => ({ ...params, user, remote, seen: [...request.headers.keys()] }),
    },
    "GET /of/here": { scope: null, doc: "The weather here.", run: () => new Response("rain", { status: 203 }) },
    "POST /of/:city": {
      scope: "chat.write",
      doc: "Reports the weather.",
      run: async (request, { params }) => ({ ...params, said: await request.text() }),
    },
  },
});
`;

test("a method is in system.describe, on the socket, in the RPC and in the docs, and goes when its file does", async () => {
  await using stack = await startStack();
  await putPlugin(stack, "weather.ts", WEATHER);
  const view = await untilPlugin(stack, "weather", "ready");
  expect(view).toMatchObject({
    version: "1.0.0",
    description: "Knows the weather.",
    source: "<data_dir>/plugins/weather.ts",
    methods: ["weather.get"],
    tools: ["weather"],
    routes: [
      "GET /plugins/weather",
      "GET /plugins/weather/of/:city",
      "GET /plugins/weather/of/here",
      "POST /plugins/weather/of/:city",
    ],
  });
  const reader = await stack.guest({ user: "ann", role: "viewer" });
  const answer = { sky: "clear", asked_by: "ann" };
  expect(await reader.call("weather.get", { city: "Oslo" })).toEqual(answer);
  await using socket = await reader.connect({});
  expect(await socket.request("weather.get", { city: "Oslo" })).toEqual(answer);
  expect(await refusal(reader.call("weather.get", { city: "Atlantis" }))).toMatchObject({
    code: "NOT_FOUND",
  });
  expect(await refusal(reader.call("weather.get", { city: "Oslo", when: 1 }))).toMatchObject({
    code: "INVALID_REQUEST",
    details: { kind: "unknown_field", path: "when" },
  });
  const writer = await stack.guest({ user: "bob", scopes: ["chat.write"] });
  expect(await refusal(writer.call("weather.get", { city: "Oslo" }))).toMatchObject({ code: "FORBIDDEN" });

  const described = async (): Promise<string[]> =>
    (await stack.owner.call("system.describe")).methods.map(({ name }: { name: string }) => name);
  const documented = async (): Promise<string[]> =>
    Object.keys((await ask(`${stack.gateway.url}/docs/json`, "GET")).json.paths).filter((path) =>
      path.includes("weather"),
    );
  expect(await described()).toContain("weather.get");
  expect(await documented()).toEqual([
    "/plugins/weather",
    "/plugins/weather/of/{city}",
    "/plugins/weather/of/here",
    "/api/v1/rpc/weather.get",
  ]);
  const { tools } = await stack.owner.call("tool.list");
  expect(tools).toContainEqual(
    expect.objectContaining({ name: "weather", source: "plugin:weather", policy: "ask" }),
  );

  await rm(join(stack.gateway.data_dir, "plugins"), { recursive: true });
  await eventually(described, (names) => !names.includes("weather.get"));
  expect(await documented()).toEqual([]);
  expect(await refusal(reader.call("weather.get", { city: "Oslo" }))).toMatchObject({ code: "NOT_FOUND" });
  expect((await ask(`${stack.gateway.url}/plugins/weather`, "GET")).status).toBe(404);
});

test("editing it takes effect, breaking it breaks nothing", async () => {
  await using stack = await startStack();
  await putPlugin(stack, "weather.ts", WEATHER);
  await untilPlugin(stack, "weather", "ready");
  await putPlugin(stack, "weather.ts", WEATHER.replace(`sky: "clear"`, `sky: "cloudy"`));
  const sky = async (): Promise<string> => (await stack.owner.call("weather.get", { city: "Oslo" })).sky;
  await eventually(sky, (is) => is === "cloudy");
  await putPlugin(stack, "weather.ts", WEATHER.replace("definePlugin({", "definePlugin({{"));
  const stale = await untilPlugin(stack, "weather", "stale");
  expect(stale.reason).toMatch(/weather\.ts:\d+:\d+/);
  expect(await sky()).toBe("cloudy");
  const { plugins } = await stack.owner.call("system.status");
  expect(plugins).toEqual([{ name: "weather", state: "stale", reason: stale.reason }]);
  await putPlugin(stack, "weather.ts", WEATHER);
  await untilPlugin(stack, "weather", "ready");
  expect(await sky()).toBe("clear");
});

test("a model calls its tool, under the policy", async () => {
  await using stack = await startStack({ config: { tools: { policy: { weather: "allow" } } } });
  await putPlugin(stack, "weather.ts", WEATHER);
  await untilPlugin(stack, "weather", "ready");
  stack.model.reply().tool("weather", { city: "Oslo" });
  stack.model.reply().text("It is clear.");
  const { run_id } = await stack.owner.call("chat.send", { session_id: "s", message: "how is it in Oslo?" });
  expect(await stack.owner.call("run.wait", { run_id })).toMatchObject({ status: "completed" });
  const { messages } = await stack.owner.call("chat.history", { session_id: "s" });
  expect(messages.map(({ role, content }: { role: string; content: string }) => [role, content])).toEqual([
    ["user", "how is it in Oslo?"],
    ["assistant", ""],
    ["tool", "clear in Oslo"],
    ["assistant", "It is clear."],
  ]);
});

test("a route is for those it says, behind the same doors as every other", async () => {
  await using stack = await startStack({ config: { limits: { body_bytes: 200_000 } } });
  await putPlugin(stack, "weather.ts", WEATHER);
  await untilPlugin(stack, "weather", "ready");
  const url = `${stack.gateway.url}/plugins/weather`;
  const reader = await stack.guest({ user: "ann", role: "viewer" });
  const nobody = await stack.guest({ user: "bob", scopes: ["events.broadcast"] });

  const open = await ask(url, "GET");
  expect([open.status, open.json]).toEqual([200, { about: "the weather" }]);
  expect(open.headers.get("x-content-type-options")).toBe("nosniff");
  expect(open.headers.get("content-security-policy")).toContain("default-src 'none'");
  for (const path of ["/of/Oslo", "/of/here"]) expect((await ask(url + path, "GET")).status).toBe(401);
  expect(
    (await ask(`${url}/of/Oslo`, "GET", { headers: { authorization: "Bearer agb_wrong" } })).status,
  ).toBe(401);
  expect(await nobody.ask("GET", "/plugins/weather/of/Oslo")).toMatchObject({
    status: 403,
    json: { error: { code: "FORBIDDEN", details: { kind: "scope", scope: "chat.read" } } },
  });
  const here = await nobody.ask("GET", "/plugins/weather/of/here");
  expect([here.status, here.text]).toEqual([203, "rain"]);
  const oslo = await reader.ask("GET", "/plugins/weather/of/%C3%85s%20town");
  expect(oslo.json).toMatchObject({ city: "Ås town", user: "ann", remote: "127.0.0.1" });
  expect(oslo.json.seen).not.toContain("authorization");
  expect((await reader.ask("POST", "/plugins/weather/of/Oslo", { body: {} })).status).toBe(403);

  const post = (headers: Record<string, string>, body = "wet"): Promise<{ status: number; json: unknown }> =>
    stack.owner.ask("POST", "/plugins/weather/of/Oslo", { body, headers });
  expect(await post({ "content-type": "text/plain" })).toMatchObject({
    status: 200,
    json: { city: "Oslo", said: "wet" },
  });
  expect((await post({ origin: "https://evil.example" })).status).toBe(403);
  expect((await post({}, "x".repeat(200_001))).status).toBe(413);
  for (const path of ["/of", "/of/a/b", "/of/", "/of/%ff", "//of/here"]) {
    expect([path, (await stack.owner.ask("GET", `/plugins/weather${path}`)).status]).toEqual([path, 404]);
  }
  expect((await stack.owner.ask("DELETE", "/plugins/weather/of/Oslo")).status).toBe(404);
  expect((await stack.owner.ask("GET", "/plugins/climate")).status).toBe(404);
  const secret = await ask(`${url}/of/Oslo?token=agb_x`, "GET");
  expect([secret.status, secret.json.error.code]).toEqual([400, "INVALID_REQUEST"]);
});

test("a route that changes something counts against the rate of its caller", async () => {
  const limits = { mutations_per_second: 1, mutations_burst: 2 };
  await using stack = await startStack({ config: { limits } });
  await putPlugin(stack, "weather.ts", WEATHER);
  await untilPlugin(stack, "weather", "ready");
  const ann = await stack.guest({ user: "ann", role: "user" });
  const post = async (): Promise<number> =>
    (await ann.ask("POST", "/plugins/weather/of/Oslo", { body: "wet" })).status;
  expect([await post(), await post(), await post()]).toEqual([200, 200, 429]);
  expect((await ann.ask("GET", "/plugins/weather/of/Oslo")).status).toBe(200);
});

/** What a route may answer that is no answer. */
const NO_ANSWERS = {
  "an error": "Response.error()",
  "what was read": "(async () => { const said = new Response('x'); await said.text(); return said; })()",
  "what is no JSON": "({ n: 1n })",
  "an exception": "(() => { throw new Error('out of luck'); })()",
};
test.each(Object.entries(NO_ANSWERS))(
  "a route that answers %s answers 500, and is gone",
  async (_what, answer) => {
    await using stack = await startStack();
    const route = `{ open: true, doc: "x", run: () => ${answer} }`;
    await putPlugin(stack, "bad.ts", `export default { name: "bad", routes: { "GET /": ${route} } };`);
    await untilPlugin(stack, "bad", "ready");
    const said = await ask(`${stack.gateway.url}/plugins/bad`, "GET");
    expect([said.status, said.json.error.code]).toEqual([500, "INTERNAL_ERROR"]);
    expect(said.text).not.toContain("luck");
    await untilPlugin(stack, "bad", "failed");
    expect((await ask(`${stack.gateway.url}/plugins/bad`, "GET")).status).toBe(404);
    expect(await stack.owner.call("system.stats")).toMatchObject({ plugin_faults: 1 });
  },
);

test("a directory that was named and is not there is told", async () => {
  await using stack = await startStack({ config: { plugins: { directories: ["nowhere"] } } });
  const { directories } = await stack.owner.call("plugin.list");
  expect(directories[1]).toMatchObject({ found: false, reason: "there is no such directory" });
  expect(stack.gateway.log.map(({ msg }) => msg)).toContain("no plug-in of a directory is loaded");
});

test("it uses the gateway: methods as somebody, broadcasts, and hears of what happens", async () => {
  await using stack = await startStack();
  await putPlugin(
    stack,
    "echo.ts",
    `import { definePlugin, Type } from "agentbus/plugin";
    export default definePlugin({
      name: "echo",
      events: {
        async "run.completed"({ session_id, user }, { gateway }) {
          if (session_id === undefined || user === undefined) return;
          const by = { user };
          await gateway.call("chat.inject", { session_id, role: "system", content: "that was it" }, by);
          await gateway.broadcast("app.done", { session_id }, { user });
        },
      },
      methods: {
        "echo.whoami": {
          scope: null, doc: "Asks on.", params: Type.Object({}), result: Type.Object({ refused: Type.String() }),
          async run(_params, { gateway, user }) {
            try {
              await gateway.call("token.list", {}, { user });
              return { refused: "not" };
            } catch (error) {
              return { refused: (error as Error).message };
            }
          },
        },
      },
    });`,
  );
  await untilPlugin(stack, "echo", "ready");
  const ann = await stack.guest({ user: "ann", role: "user" });
  await using socket = await ann.connect({});
  stack.model.reply().text("hi");
  await ann.call("chat.send", { session_id: "s", message: "hello" });
  const told = (await socket.nextEvent("app.done")).json;
  expect(told.payload.session_id).toMatch(/^ses_/);
  const { messages } = await ann.call("chat.history", { session_id: "s" });
  expect(messages.map(({ content }: { content: string }) => content)).toEqual(["hello", "hi", "that was it"]);
  expect(await ann.call("echo.whoami")).toEqual({ refused: "token.list needs the scope admin" });
});

test("only an administrator sees and reloads them; without auto_reload nobody else does", async () => {
  await using stack = await startStack({ config: { plugins: { auto_reload: false } } });
  const operator = await stack.guest({ user: "ann", role: "operator" });
  for (const method of ["plugin.list", "plugin.reload"]) {
    expect(await refusal(operator.call(method))).toMatchObject({ code: "FORBIDDEN" });
  }
  expect(await stack.owner.call("plugin.list")).toEqual({
    plugins: [],
    directories: [{ directory: "<data_dir>/plugins", found: false }],
  });
  await putPlugin(stack, "weather.ts", WEATHER);
  expect(await stack.owner.call("plugin.reload")).toEqual({ changed: ["weather"] });
  expect(await stack.owner.call("plugin.reload")).toEqual({ changed: [] });
  expect(await stack.owner.call("plugin.reload", { name: "weather" })).toEqual({ changed: ["weather"] });
  const { entries } = await eventually(
    () => stack.owner.call("audit.list", { action: "plugin.reload", limit: 1 }),
    (answer) => answer.entries[0].outcome === "ok",
  );
  expect(entries[0]).toMatchObject({ user: "owner", outcome: "ok", target: "weather" });
});
