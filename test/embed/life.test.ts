import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ConfigError } from "../../src/config/error.ts";
import type { GatewayConfig } from "../../src/embed/config.ts";
import { composeGateway } from "../../src/gateway.ts";
import { configOf } from "../../src/config.ts";
import { createGateway } from "../../src/embed/create.ts";
import manifest from "../../package.json" with { type: "json" };
import pino from "pino";
import { createLogbook } from "../support/logbook.ts";
import { embed, plainConfig, refusedWith, temporary } from "./embed.fixture.ts";

const SILENT = { log: { level: "silent" } } as const;

describe("createGateway", () => {
  test("opens nothing before start(), and says what it is", async () => {
    await using directory = await temporary();
    const data_dir = join(directory.path, "data");
    const gateway = createGateway({ server: { data_dir, port: 0 }, ...SILENT });
    expect(existsSync(data_dir)).toBe(false);
    expect(gateway.status()).toEqual({
      name: "agentbus",
      version: manifest.version,
      status: "stopped",
      uptime: expect.any(Number),
      connections: 0,
      clients: 0,
      config: { host: "127.0.0.1", port: 0, auth_mode: "token", max_connections: 1_000 },
    });
    const { url, urls, token, certificate } = await gateway.start();
    expect([urls, certificate, token?.created]).toEqual([[url], null, true]);
    const { status, config } = gateway.status();
    expect([status, `http://127.0.0.1:${config.port}`]).toEqual(["healthy", url]);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    await gateway.stop();
    expect(gateway.status().status).toBe("stopped");
    expect(fetch(`${url}/health`)).rejects.toThrow();
  });

  test("what is wrong with the configuration is told at once, with what may be meant", () => {
    const wrong: [unknown, string][] = [
      [{ server: { prot: 1 } }, "config: server.prot: there is no such option; did you mean server.port?"],
      [{ sever: {} }, "config: sever: there is no such section; did you mean [server]?"],
      [
        { server: { port: "8080" } },
        'config: server.port: it must be a whole number from 0 to 65535, not "8080"',
      ],
      [{ server: 1 }, "config: server: this must be an object"],
      [{ auth: { mode: "password" } }, "auth.mode"],
      [
        { llm: { providers: { "no name": {} } } },
        'config: llm.providers.no name: "no name" is no name for a provider',
      ],
      [null, "config: this must be an object"],
      [[], "config: this must be an object"],
    ];
    for (const [config, message] of wrong) {
      const make = () => createGateway(config as GatewayConfig, { log: createLogbook() });
      expect(make).toThrow(ConfigError);
      expect(make).toThrow(message);
    }
  });

  test("text is taken as it is, what is undefined was not said, and the environment does not count", async () => {
    await using directory = await temporary();
    process.env["AGENTBUS_SERVER_HOST"] = "no host";
    try {
      const prompt = "Say ${HOME} and $${x}.";
      const server = { port: 0, data_dir: directory.path, host: undefined };
      const gateway = createGateway({ server, agent: { system_prompt: prompt }, llm: undefined, ...SILENT });
      expect(gateway.status().config.host).toBe("127.0.0.1");
    } finally {
      delete process.env["AGENTBUS_SERVER_HOST"];
    }
  });

  test("takes a secret from a file, and a logger of the program's", async () => {
    await using directory = await temporary();
    const file = join(directory.path, "token");
    await Bun.write(file, "a-token-of-some-length\n");
    const log = createLogbook();
    const gateway = createGateway(plainConfig(join(directory.path, "data"), { auth: { token_file: file } }), {
      log,
    });
    await gateway.start();
    expect((await gateway.auth.authenticateToken("a-token-of-some-length")).success).toBe(true);
    await gateway.auth.authenticateToken("wrong");
    await gateway.stop();
    expect(log.lines.some(({ message }) => message === "a login was refused")).toBe(true);
  });

  test("logs to a logger of pino's", async () => {
    await using directory = await temporary();
    const lines: string[] = [];
    const log = pino({ level: "info" }, { write: (line) => void lines.push(line) });
    const gateway = createGateway(plainConfig(directory.path), { log });
    await gateway.start();
    await gateway.auth.authenticateToken("wrong", { remote: "192.0.2.1" });
    await gateway.stop();
    const refused = lines.map((line) => JSON.parse(line)).find(({ msg }) => msg === "a login was refused");
    expect(refused).toMatchObject({ level: 40, remote: "192.0.2.1" });
  });

  test("listens to no signal and leaves none behind", async () => {
    const count = () =>
      ["SIGTERM", "SIGINT", "SIGHUP", "uncaughtException", "unhandledRejection", "exit"].map((name) =>
        process.listenerCount(name),
      );
    const before = count();
    const one = await embed();
    expect(count()).toEqual(before);
    await one[Symbol.asyncDispose]();
    expect(count()).toEqual(before);
  });
});

describe("two gateways in one process", () => {
  test("have nothing of each other", async () => {
    await using one = await embed();
    await using two = await embed();
    expect(one.started.url).not.toBe(two.started.url);
    const { sessionId } = await one.gateway.chat.createSession({ title: "one's" });
    expect(await refusedWith(two.gateway.chat.getMessages(sessionId))).toBe("NOT_FOUND");
    expect((await two.gateway.auth.authenticateToken(one.token, { remote: "192.0.2.1" })).success).toBe(
      false,
    );
    const heard: string[] = [];
    two.gateway.on("*", ({ type }) => heard.push(type));
    await using socket = await one.connect();
    await one.gateway.chat.addMessage(sessionId, { role: "user", content: "hi" });
    expect(await two.gateway.broadcast("app.two", {})).toBe(0);
    expect(await one.gateway.broadcast("app.x", {})).toBe(1);
    await one.gateway.stop();
    expect((await socket.closed).code).toBe(1012);
    expect(two.gateway.status().status).toBe("healthy");
    expect(await two.gateway.chat.createSession()).toMatchObject({ sessionId: expect.any(String) });
    expect(heard).toEqual(["app.two", "session.created"]);
  });

  test("cannot share a data directory or a port", async () => {
    await using one = await embed();
    await using directory = await temporary();
    const twin = createGateway(plainConfig(one.data_dir, SILENT));
    expect(await refusedWith(twin.start())).toBe("UNAVAILABLE");
    expect(twin.status().status).toBe("stopped");
    const port = Number(new URL(one.started.url).port);
    const neighbour = createGateway({
      ...plainConfig(directory.path),
      server: { port, data_dir: directory.path },
      ...SILENT,
    });
    expect(await refusedWith(neighbour.start())).toBe("UNAVAILABLE");
    await neighbour.stop();
    expect(one.gateway.status().status).toBe("healthy");
    // What it had opened is given back.
    const next = createGateway(plainConfig(directory.path, SILENT));
    await next.start();
    await next.stop();
  });
});

describe("start and stop", () => {
  test("nothing works before the start and after the stop, and says so", async () => {
    await using directory = await temporary();
    const gateway = createGateway(plainConfig(directory.path, SILENT));
    const refused = async (): Promise<string[]> => [
      await refusedWith(gateway.chat.createSession()),
      await refusedWith(gateway.chat.getMessages("ses_00000000000000000000000000")),
      await refusedWith(gateway.chat.abortRun("run_x")),
      await refusedWith(gateway.chat.stats()),
      await refusedWith(gateway.broadcast("app.x", {})),
      await refusedWith(gateway.broadcast("app.x", {}, () => true)),
      await refusedWith(gateway.sendTo("x", "app.x", {})),
      await refusedWith(gateway.connections.disconnect("x")),
      await refusedWith(gateway.subscribe("x").next()),
      (await gateway.auth.authenticateToken("x")).reason ?? "",
      (await gateway.auth.createSession({ userId: "ann" })).reason ?? "",
    ];
    expect(new Set(await refused())).toEqual(new Set(["UNAVAILABLE"]));
    expect(gateway.connections.list()).toEqual([]);
    await gateway.start();
    await gateway.stop();
    expect(new Set(await refused())).toEqual(new Set(["UNAVAILABLE"]));
  });

  test("each happens once; a stop waits for the start that is under way", async () => {
    await using directory = await temporary();
    const gateway = createGateway(plainConfig(directory.path, SILENT));
    const starting = gateway.start();
    expect(gateway.start()).rejects.toThrow("make another gateway");
    const stopping = gateway.stop();
    await starting;
    await Promise.all([stopping, gateway.stop()]);
    expect(gateway.status().status).toBe("stopped");
    expect(gateway.start()).rejects.toThrow("make another gateway");
    const never = createGateway(plainConfig(directory.path, SILENT));
    await never.stop();
    expect(never.start()).rejects.toThrow("make another gateway");
  });

  test("a second stop takes the grace of the first back", async () => {
    await using one = await embed();
    const { gateway, model } = one;
    const { sessionId } = await gateway.chat.createSession();
    await gateway.chat.addMessage(sessionId, { role: "user", content: "Hi" });
    model.reply().text("so far").hang();
    const { done } = await gateway.chat.createRun(sessionId);
    const patient = gateway.stop({ graceMs: 600_000 });
    await new Promise((resolve) => setImmediate(resolve));
    expect(gateway.status().status).toBe("draining");
    await gateway.stop({ graceMs: 0 });
    await patient;
    expect((await done).status).toBe("interrupted");
  });

  test("what was said before a stop is there after the next start", async () => {
    await using directory = await temporary();
    const config = plainConfig(directory.path, SILENT);
    const first = createGateway(config);
    await first.start();
    const { sessionId } = await first.chat.createSession();
    const { epoch, seq } = await first.chat.addMessage(sessionId, { role: "user", content: "kept" });
    await first.stop();
    const second = createGateway(config);
    const { token } = await second.start();
    expect(token?.created).toBe(false);
    const events = second.subscribe(sessionId, { epoch, after: seq - 1 });
    expect((await events.next()).value).toMatchObject({ event: "session.resumed" });
    expect((await events.next()).value).toMatchObject({
      event: "message.created",
      payload: { message: { content: "kept" } },
    });
    await second.stop();
  });
});

test("a stop takes nothing new from its first moment on, whatever is still under way", async () => {
  await using directory = await temporary();
  const { config } = configOf(plainConfig(directory.path), { env: {}, cwd: directory.path });
  const onFatal = (): void => undefined;
  const gateway = composeGateway({ config, log: createLogbook(), version: "0", onFatal });
  await gateway.start();
  const stopped = gateway.stop();
  expect(gateway.engine.status()).toBe("draining");
  await stopped;
});
