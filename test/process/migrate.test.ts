import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../gateway/stack.ts";
import { agentbus, workplace } from "../support/executable.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { png } from "../support/images.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { hasPostgres, testDatabase } from "../support/postgres.ts";
import { openSocket } from "../support/ws-client.ts";
import { call } from "./direct.ts";

setDefaultTimeout(120_000);
interface Hook {
  readonly path: string;
  readonly secret: string;
}

/** Whoever asks: a gateway and a token. */
type Asked = Pick<RunningGateway, "url" | "token">;
// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
type Any = any;

function start(data_dir: string, model: ModelServer, url: string): Promise<RunningGateway> {
  return startGateway({
    data_dir,
    config: {
      server: { shutdown_grace_secs: 0 },
      storage: { url },
      llm: { default_provider: "test", default_model: "m", providers: { test: { base_url: model.url() } } },
      tools: { builtin: ["time"], policy: { "*": "allow" } },
    },
  });
}

async function say(gateway: Asked, params: Record<string, unknown>): Promise<Any> {
  const sent = await call<Any>(gateway, "chat.send", params);
  await call(gateway, "run.wait", { run_id: sent.run_id });
  return sent;
}

const KEYED = { session_id: "tools", message: "What time is it?", idempotency_key: "once" };

/** Of everything that is kept a little; what a guest needs to ask for it. */
async function fill(gateway: RunningGateway, model: ModelServer) {
  const { token } = await call<{ token: string }>(gateway, "token.create", {
    name: "guest",
    user: "ann",
    role: "user",
  });
  const ann = (on: Asked): Asked => ({ url: on.url, token });
  model.reply().tool("time", {});
  model.reply().text("It is late.");
  const keyed = await say(gateway, KEYED);
  const uploaded = await fetch(`${gateway.url}/api/v1/attachments?name=picture.png`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: png(64, 32),
  });
  const { attachment_id } = (await uploaded.json()) as { attachment_id: string };
  model.reply().text("A picture — ü 👩‍👧.");
  await say(ann(gateway), { session_id: "files", message: "Look", attachments: [attachment_id] });
  await call(ann(gateway), "session.share", { session_id: "files", user: "owner", role: "viewer" });
  const hook = await call<Hook>(gateway, "hook.create", {
    name: "door",
    session_id: "hooked",
    template: "{{text}}",
  });
  await deliver(gateway, hook, "Somebody is at the door");
  await call(gateway, "webhook.create", {
    url: "http://127.0.0.1:1/in",
    types: ["app.never"],
    name: "out",
    sessions: "own",
  });
  await call(gateway, "schedule.create", {
    name: "daily",
    cron: "0 9 * * MON",
    message: "good morning",
    session_id: "tools",
  });
  model.reply().text("It never").hang();
  const unended = await call<Any>(gateway, "chat.send", { session_id: "unended", message: "Go on" });
  await eventually(
    () => call<Any>(gateway, "session.get", { session_id: "unended" }),
    ({ head }) => head > 4,
  );
  return { token: gateway.token, ann, attachment_id, keyed, hook, unended };
}

/** What people see of it, apart from epochs and when they last did so. */
async function seen(owner: Asked, ann: Asked, attachment_id: string): Promise<Any> {
  const asked: [string, Any][] = [];
  const ask = async (who: Asked, method: string, params: Record<string, unknown> = {}): Promise<void> => {
    asked.push([`${method} ${JSON.stringify(params)}`, await call(who, method, params)]);
  };
  for (const method of ["hook.list", "webhook.list", "schedule.list", "token.list", "user.list", "usage.get"])
    await ask(owner, method);
  for (const session_id of ["tools", "hooked"]) await ask(owner, "chat.history", { session_id });
  await ask(ann, "chat.history", { session_id: "files" });
  await ask(ann, "session.list");
  const at = `${ann.url}/api/v1/sessions/files/attachments/${attachment_id}`;
  const file = await fetch(at, { headers: { authorization: `Bearer ${ann.token}` } });
  asked.push(["file", `${file.status} ${Buffer.from(await file.arrayBuffer()).toString("base64")}`]);
  const varies = ["epoch", "last_used_at", "last_seen_at", "as_of"];
  return JSON.parse(JSON.stringify(asked), (name, value: unknown) => (varies.includes(name) ? null : value));
}

async function deliver(gateway: Asked, hook: Hook, text: string): Promise<void> {
  const response = await fetch(`${gateway.url}${hook.path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${hook.secret}`, "content-type": "application/json" },
    body: JSON.stringify({ text }),
  });
  const { run_id } = (await response.json()) as { run_id: string };
  await call(gateway, "run.wait", { run_id });
}

/** What a client with an old cursor is told. */
async function resumed(gateway: RunningGateway, cursor: { epoch: string; seq: number }): Promise<Any> {
  await using socket = await openSocket(gateway.ws_url, {
    headers: { authorization: `Bearer ${gateway.token}` },
  });
  return await socket.request("session.subscribe", {
    session_id: "tools",
    epoch: cursor.epoch,
    after: cursor.seq,
  });
}

async function kill(gateway: RunningGateway): Promise<void> {
  gateway.kill("SIGKILL");
  await gateway.exited;
}

describe.skipIf(!hasPostgres || Bun.env["AGENTBUS_TEST_STORE"] === "postgres")("agentbus migrate", () => {
  test("moves a gateway to PostgreSQL and back: all is there, and clients are told to begin anew", async () => {
    using place = workplace();
    await using database = await testDatabase();
    await using model = await startModelServer();
    const data_dir = join(place.path, "data");
    const cli = ["--data-dir", data_dir];
    const env = { AGENTBUS_STORAGE_URL: database.url };
    const run = async (...argv: string[]): Promise<Any> => {
      const { code, out, err } = await agentbus(["migrate", ...argv, "--json", ...cli], {
        cwd: place.path,
        env,
      });
      expect([code, err]).toEqual([0, ""]);
      return JSON.parse(out);
    };

    await using sqlite = await start(data_dir, model, "");
    const { token, ann, attachment_id, keyed, hook, unended } = await fill(sqlite, model);
    const before = await seen(sqlite, ann(sqlite), attachment_id);
    await kill(sqlite);
    const there = await run("--from", "sqlite", "--to", "postgres");
    expect(there).toMatchObject({ files: 1, damaged_files: 0, resumed_after: null });
    expect(there.next).toStartWith("start the gateway");
    // What secrets are sealed with is in the database from now on, for every node.
    rmSync(join(data_dir, "secrets.key"));

    await using postgres = await start(data_dir, model, database.url);
    expect(postgres.token).toBe(token);
    expect(await seen(postgres, ann(postgres), attachment_id)).toEqual(before);
    const status = async (gateway: Asked): Promise<string> =>
      (await call<Any>(gateway, "run.get", { run_id: unended.run_id })).status;
    expect(await status(postgres)).toBe("interrupted");
    expect(await call<Any>(postgres, "chat.send", KEYED)).toMatchObject({
      message_id: keyed.message_id,
      run_id: keyed.run_id,
    });
    expect(await resumed(postgres, keyed)).toMatchObject({ mode: "reset", reason: "epoch" });
    model.reply().text("Come in.");
    await deliver(postgres, hook, "Again");
    model.reply().text("Hello, PostgreSQL.");
    const later = await say(postgres, { session_id: "tools", message: "Hello" });
    const found = async (gateway: Asked): Promise<number> =>
      (await call<Any>(gateway, "session.search", { query: "late" })).results.length;
    await eventually(
      () => found(postgres),
      (n) => n === 1,
    );
    const moved = await seen(postgres, ann(postgres), attachment_id);
    await kill(postgres);

    for (const rest of ["", "-wal", "-shm"]) {
      const name = join(data_dir, `agentbus.db${rest}`);
      if (existsSync(name)) renameSync(name, `${name}.old`);
    }
    const back = await run("--from", "postgres", "--to", "sqlite");
    expect(back.next).toContain("leave storage.url empty");
    await using again = await start(data_dir, model, "");
    expect(await seen(again, ann(again), attachment_id)).toEqual(moved);
    expect(await status(again)).toBe("interrupted");
    expect((await call<Any>(again, "chat.send", KEYED)).message_id).toBe(keyed.message_id);
    expect(await resumed(again, later)).toMatchObject({ mode: "reset", reason: "epoch" });
    model.reply().text("Come in.");
    await deliver(again, hook, "And again");
    await eventually(
      () => found(again),
      (n) => n === 1,
    );
    const doctor = await agentbus(["doctor", "--deep", "--json", ...cli], { cwd: place.path });
    const { findings } = JSON.parse(doctor.out) as { findings: { check: string; state: string }[] };
    expect(findings.find(({ check }) => check === "database")?.state).toBe("ok");
  });
});
