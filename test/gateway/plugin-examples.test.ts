import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { putPlugin } from "./plugins.fixture.ts";
import type { Stack } from "./stack.ts";
import { eventually, refusal, startStack } from "./stack.ts";

/** The plug-ins of examples/plugins, as they are there. */

async function install(stack: Stack, name: string): Promise<void> {
  const text = await readFile(resolve(import.meta.dir, `../../examples/plugins/${name}.ts`), "utf8");
  await putPlugin(stack, `${name}.ts`, text);
  await stack.owner.call("plugin.reload");
  const { plugins } = await stack.owner.call("plugin.list");
  expect(plugins).toMatchObject([{ name, state: "ready" }]);
}

function contents({ messages }: { messages: readonly { role: string; content: string }[] }): string[][] {
  return messages.map(({ role, content }) => [role, content]);
}

test("weather: a method, a tool and a route with the same answer", async () => {
  using upstream = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/v1/forecast") {
        expect(searchParams.get("latitude")).toBe("59.9");
        return Response.json({ current: { temperature_2m: 7.5, wind_speed_10m: 12 } });
      }
      const name = searchParams.get("name");
      if (name === "Storm") return new Response("", { status: 500 });
      const oslo = { name: "Oslo", country: "Norway", latitude: 59.9, longitude: 10.7 };
      return Response.json(name === "Oslo" ? { results: [oslo] } : {});
    },
  });
  const url = `http://127.0.0.1:${upstream.port}`;
  await using stack = await startStack({
    env: { WEATHER_URL: url, GEOCODING_URL: url },
    config: { tools: { policy: { weather: "allow" } } },
  });
  await install(stack, "weather");
  const oslo = { place: "Oslo, Norway", temperature_c: 7.5, wind_kmh: 12 };
  expect(await stack.owner.call("weather.get", { city: "Oslo" })).toEqual(oslo);
  const route = await stack.owner.ask("GET", "/plugins/weather/Oslo");
  expect([route.status, route.json]).toEqual([200, oslo]);
  expect((await stack.owner.ask("GET", "/plugins/weather/Nowhere")).status).toBe(404);
  expect(await refusal(stack.owner.call("weather.get", { city: "Storm" }))).toMatchObject({
    code: "UPSTREAM_ERROR",
  });
  stack.model.reply().tool("weather", { city: "Oslo" });
  stack.model.reply().text("Mild.");
  const { run_id } = await stack.owner.call("chat.send", { session_id: "s", message: "Oslo?" });
  await stack.owner.call("run.wait", { run_id });
  expect(contents(await stack.owner.call("chat.history", { session_id: "s" }))[2]).toEqual([
    "tool",
    "Oslo, Norway: 7.5 °C, wind 12 km/h",
  ]);
  expect((await stack.owner.call("plugin.list")).plugins).toMatchObject([{ state: "ready" }]);
});

test("redact: what is private reaches neither the model nor the log", async () => {
  await using stack = await startStack({
    config: { tools: { builtin: ["read_file"], workspace: ".", policy: { read_file: "allow" } } },
  });
  await install(stack, "redact");
  await Bun.write(join(stack.gateway.data_dir, "..", "book.txt"), "Ada: ada@example.com");
  stack.model.reply().tool("read_file", { path: "book.txt" });
  stack.model.reply().text("Done.");
  const message = "mail bob@example.com, card 4111 1111 1111 1111, key sk-abcdefghijklmnopqrst, 7 days";
  const { run_id } = await stack.owner.call("chat.send", { session_id: "s", message });
  await stack.owner.call("run.wait", { run_id });
  const kept = "mail [e-mail], card [number], key [key], 7 days";
  const history = contents(await stack.owner.call("chat.history", { session_id: "s" }));
  expect(history[0]).toEqual(["user", kept]);
  expect(history[2]?.[1]).toContain("[e-mail]");
  const asked = JSON.stringify(stack.model.requests.map(({ body }) => body));
  expect(asked).toContain(kept);
  expect(asked).not.toContain("@example.com");
  const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc";
  expect(await refusal(stack.owner.call("chat.send", { session_id: "s", message: key }))).toMatchObject({
    code: "FORBIDDEN",
    message: "redact refused this message: it has a private key in it",
  });
});

test("webhook: another server is told of every run, signed, and again where it fails", async () => {
  const heard: { body: string; signature: string | null }[] = [];
  using hook = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      heard.push({ body: await request.text(), signature: request.headers.get("x-signature") });
      return new Response("", { status: heard.length === 1 ? 503 : 204 });
    },
  });
  await using stack = await startStack({
    env: { WEBHOOK_URL: `http://127.0.0.1:${hook.port}/`, WEBHOOK_SECRET: "s3cret" },
  });
  await install(stack, "webhook");
  stack.model.reply().text("hi");
  const { run_id } = await stack.owner.call("chat.send", { session_id: "s", message: "hello" });
  await eventually(
    () => heard.length,
    (length) => length === 2,
  );
  const [first, second] = heard;
  expect(second).toEqual(first);
  expect(JSON.parse(first?.body ?? "")).toMatchObject({ type: "run.completed", run_id, user: "owner" });
  const hmac = new Bun.CryptoHasher("sha256", "s3cret").update(first?.body ?? "").digest("hex");
  expect(first?.signature).toBe(`sha256=${hmac}`);
  expect((await stack.owner.call("plugin.list")).plugins).toMatchObject([{ state: "ready" }]);
});
