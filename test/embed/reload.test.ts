import { expect, test } from "bun:test";
import { createGateway } from "../../src/embed/create.ts";
import type { GatewayConfig } from "../../src/embed/config.ts";
import { Collector } from "../support/collector.ts";
import { createLogbook } from "../support/logbook.ts";
import { startModelServer } from "../support/model-server.ts";
import { startReceiver } from "../support/webhook-receiver.ts";
import { openSocket } from "../support/ws-client.ts";
import { plainConfig, temporary } from "./embed.fixture.ts";

test("a program's own source of the configuration is read again when it says so, and by no one else", async () => {
  await using directory = await temporary();
  let config: GatewayConfig = plainConfig(directory.path);
  const phases: string[] = [];
  const found = () => ({ config, warnings: [], file: null, files: [] });
  const source = { first: found(), read: found, onReload: (state: string) => void phases.push(state) };
  const gateway = createGateway(config, { log: createLogbook(), source });
  await gateway.start();
  config = { ...config, gateway: { max_connections: 700 }, storage: { durability: "normal" } };
  expect(gateway.reload()).toEqual({
    changed: ["gateway.max_connections"],
    restart_needed: ["storage.durability"],
  });
  expect(gateway.status().config.max_connections).toBe(700);
  config = { ...config, gateway: { max_connections: 0 } };
  expect(() => gateway.reload()).toThrow("gateway.max_connections");
  expect(gateway.status().config.max_connections).toBe(700);
  expect(phases).toEqual(["begins", "over", "begins", "over"]);
  await gateway.stop();
});

test("what users may set up, how often a hook is called, and where webhooks reach, counts for the next one", async () => {
  await using directory = await temporary();
  await using receiver = startReceiver();
  const bounds = (each: number, calls: number) => ({
    limits: {
      hooks_per_user: each,
      schedules_per_user: each,
      webhooks_per_user: each,
      hook_calls_per_minute: calls,
    },
  });
  let config: GatewayConfig = plainConfig(directory.path, bounds(1, 1));
  const found = () => ({ config, warnings: [], file: null, files: [] });
  const gateway = createGateway(config, { log: createLogbook(), source: { first: found(), read: found } });
  const { url, token } = await gateway.start();
  const headers = { authorization: `Bearer ${token?.value}` };
  await using socket = await openSocket(`${url.replace("http", "ws")}/ws`, { headers });
  await socket.request("connect", { client_name: "test" });
  let made = 0;
  const make = [
    () => socket.request("hook.create", { name: `hook${++made}`, session_id: "s", template: "{{text}}" }),
    () => socket.request("webhook.create", { url: receiver.url, types: ["run.completed"] }),
    () => socket.request("schedule.create", { cron: "@monthly", message: "x" }),
  ];
  const [hook, webhook] = await Promise.all(make.map((each) => each()));
  const deliver = async (): Promise<number> => {
    const proof = { authorization: `Bearer ${hook.secret}` };
    const answer = await fetch(`${url}${hook.path}`, {
      method: "POST",
      headers: proof,
      body: '{"text":"x"}',
    });
    await answer.text();
    return answer.status;
  };
  const outcomes = (): Promise<string[]> =>
    Promise.all(
      make.map((each) =>
        each().then(
          () => "made",
          ({ details }) => details.what,
        ),
      ),
    );
  const reaches = async (): Promise<boolean> =>
    (await socket.request("webhook.test", { webhook_id: webhook.webhook_id })).ok;
  expect(await outcomes()).toEqual(["hooks_per_user", "webhooks_per_user", "schedules_per_user"]);
  expect([await deliver(), await deliver(), await reaches()]).toEqual([202, 429, false]);
  config = { ...config, ...bounds(2, 6_000_000), webhooks: { allow: ["127.0.0.1"] } };
  expect(gateway.reload()).toEqual({
    changed: expect.arrayContaining(["limits.hook_calls_per_minute", "webhooks.allow"]),
    restart_needed: [],
  });
  expect(await outcomes()).toEqual(["made", "made", "made"]);
  expect([await deliver(), await reaches()]).toEqual([202, true]);
  config = { ...config, webhooks: { allow: ["no host"] } };
  expect(() => gateway.reload()).toThrow("webhooks.allow");
  expect(await reaches()).toBe(true);
  await gateway.stop();
});

test("with log.content off again nothing of what is said from there on is in spans", async () => {
  await using directory = await temporary();
  await using collector = new Collector();
  const telemetry = { otlp_endpoint: collector.url };
  await using model = await startModelServer();
  const llm = {
    default_provider: "test",
    default_model: "fake-1",
    providers: { test: { base_url: model.url() } },
  };
  let config: GatewayConfig = plainConfig(directory.path, { llm, telemetry, log: { content: true } });
  const found = () => ({ config, warnings: [], file: null, files: [] });
  const gateway = createGateway(config, { log: createLogbook(), source: { first: found(), read: found } });
  await gateway.start();
  await gateway.chat.createSession({ sessionId: "said" });
  const say = async (content: string): Promise<void> => {
    await gateway.chat.addMessage("said", { role: "user", content: "go on" });
    model.reply().text(content);
    await (
      await gateway.chat.createRun("said")
    ).done;
  };
  await say("shown words");
  config = { ...config, log: { content: false } };
  expect(gateway.reload().changed).toEqual(["log.content"]);
  await say("hidden words");
  await gateway.stop();
  const spans = JSON.stringify(collector.named("chat fake-1"));
  expect([spans.includes("shown words"), spans.includes("hidden words")]).toEqual([true, false]);
});

test("once it stops it is not read again: what that starts nobody would end", async () => {
  await using directory = await temporary();
  let config: GatewayConfig = plainConfig(directory.path);
  const found = () => ({ config, warnings: [], file: null, files: [] });
  const gateway = createGateway(config, { log: createLogbook(), source: { first: found(), read: found } });
  await gateway.start();
  const stopped = gateway.stop();
  await Bun.sleep(1);
  config = { ...config, gateway: { max_connections: 700 } };
  expect(() => gateway.reload()).toThrow("about to stop");
  await stopped;
  expect(gateway.status().config.max_connections).not.toBe(700);
});

test("without one there is nothing to read again", async () => {
  await using directory = await temporary();
  const gateway = createGateway(plainConfig(directory.path), { log: createLogbook() });
  expect(() => gateway.reload()).toThrow("there is none to read again");
});
