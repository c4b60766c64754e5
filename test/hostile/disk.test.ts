import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FsyncShim } from "../support/fsync-shim.ts";
import { canShim, compileFsyncShim } from "../support/fsync-shim.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { needs } from "../support/needs.ts";
import { openSocket, RefusedRequest } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, openArena } from "./beside.ts";

/** A disk that takes nothing more while answers are written: nothing that was not stored is said to be. */

const TOKENS = 80;
const REFUSALS = 50;
const here = needs("cc", "gcc") && canShim();

describe.skipIf(!here)("a disk that is full", () => {
  let home: string;
  let shim: FsyncShim;
  let model: ModelServer;
  let arena: Arena;
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), "agentbus-full-"));
    shim = compileFsyncShim(home, "agentbus.db");
    model = await startModelServer();
    const config = {
      limits: ANY_RATE,
      llm: {
        default_provider: "test",
        default_model: "test/model",
        providers: { test: { base_url: model.url() } },
      },
    };
    arena = await openArena({ config, env: shim.env, errors: ["storage refuses writes"] });
  });
  afterEach(() => shim.failWrites(null));
  afterAll(async () => {
    await arena[Symbol.asyncDispose]();
    model.stop();
    rmSync(home, { recursive: true, force: true });
  });

  test("is said at once, acknowledges nothing, and everything goes on when there is room", () =>
    arena.beside(async (round) => {
      const session_id = `s${round}`;
      const headers = { authorization: `Bearer ${arena.gateway.token}` };
      await using socket = await openSocket(arena.gateway.ws_url, { headers });
      model.reply().tokens(TOKENS, { everyMs: 20 }).finish("stop");
      await socket.request("chat.send", { session_id, message: "go" });
      await socket.nextEvent("message.delta");
      shim.failWrites("ENOSPC");

      const taken: string[] = [];
      const refused: string[] = [];
      const attempts: [string, (mark: string) => object][] = [
        ["chat.inject", (content) => ({ session_id, role: "user", content })],
        ["session.create", (name) => ({ session_id: name })],
        ["token.create", (name) => ({ name, role: "viewer" })],
        ["event.send", (mark) => ({ session_id, event: "app.x", payload: { mark }, durable: true })],
      ];
      for (let i = 0; refused.length < REFUSALS; i++) {
        const mark = `mark-${round}-${i}`;
        const [method, params] = attempts[i % attempts.length] ?? ["", () => ({})];
        try {
          const answer = await socket.request(method, { ...params(mark) });
          if (typeof answer.token === "string") arena.secret(answer.token);
          taken.push(mark);
        } catch (error) {
          expect(error).toBeInstanceOf(RefusedRequest);
          expect(error).toMatchObject({ code: "UNAVAILABLE", retryable: true, details: { kind: "storage" } });
          refused.push(mark);
        }
      }
      const ready = (): Promise<number> => arena.ask("GET", "/ready").then(({ status }) => status);
      expect(await ready()).toBe(503);
      expect((await socket.request("system.status")).storage.ok).toBe(false);
      // What only reads goes on.
      expect((await socket.request("session.get", { session_id })).session_id).toBe(session_id);
      expect(shim.failedWrites()).toBeGreaterThan(0);

      shim.failWrites(null);
      const { json } = await socket.nextEvent("run.completed", 20_000);
      expect(json.payload.run.status).toBe("completed");
      while ((await ready()) !== 200) await Bun.sleep(20);
      const said = socket.frames
        .filter(({ json: frame }) => frame.event === "message.delta")
        .map(({ json: frame }) => frame.payload.text);
      expect(said.join("").trim()).toBe(Array.from({ length: TOKENS }, (_, i) => `t${i}`).join(" "));

      // What was refused is nowhere, and what was taken is there.
      const history = await socket.request("chat.history", { session_id, limit: 1_000 });
      const { sessions } = await socket.request("session.list", { limit: 200 });
      const { tokens } = await socket.request("token.list");
      const marks = [
        ...history.messages.map(({ content }: { content: string }) => content),
        ...sessions.map((each: { session_id: string }) => each.session_id),
        ...tokens.map(({ name }: { name: string }) => name),
        ...socket.frames
          .filter(({ json: frame }) => frame.event === "app.x")
          .map(({ json: frame }) => frame.payload.mark),
      ].filter((text) => text.startsWith(`mark-${round}-`));
      expect(marks.toSorted()).toEqual(taken.toSorted());
      for (const [i, [method, params]] of attempts.entries()) {
        const answer = await socket.request(method, { ...params(`again-${round}-${i}`) });
        if (typeof answer.token === "string") arena.secret(answer.token);
      }
    }));
});
