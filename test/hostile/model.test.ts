import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Script } from "../support/model-script.ts";
import { script } from "../support/model-script.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, openArena } from "./beside.ts";

/** A model server that means harm: whatever it sends, the run ends once, and what is kept is bounded. */

const KEY = "sk-hostile-0123456789abcdef";
const PROMPT = "what is asked is nobody else's business";
/** For the first word on a busy machine, and for the next one. */
const FIRST_MS = 1_500;
const NEXT_MS = 700;
/** For all of its cases, should the machine be too busy for one try. */
const TRIES_MS = 60_000;
const MIB = 1024 * 1024;
const LINE_MIB = 100;
const ASSISTANT_BYTES = 512 * 1024;

let model: ModelServer;
/** Sends bytes as they are. */
let bytes: Bun.Server<undefined>;
let arena: Arena;
let socket: TestSocket;
let body: () => ReadableStream<Uint8Array>;
beforeAll(async () => {
  model = await startModelServer();
  bytes = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: () => new Response(body(), { headers: { "content-type": "text/event-stream" } }),
  });
  const patience = {
    api_key: KEY,
    first_token_timeout_ms: FIRST_MS,
    idle_timeout_ms: NEXT_MS,
    total_timeout_ms: 10_000,
    max_retries: 0,
  };
  arena = await openArena({
    config: {
      limits: ANY_RATE,
      llm: {
        default_provider: "test",
        default_model: "test/model",
        providers: {
          test: { base_url: model.url(), ...patience },
          bytes: { base_url: `http://127.0.0.1:${bytes.port}/v1`, ...patience },
        },
      },
    },
  });
  arena.secret(KEY);
  arena.secret(PROMPT);
  const headers = { authorization: `Bearer ${arena.gateway.token}` };
  socket = await openSocket(arena.gateway.ws_url, { headers });
});
afterAll(async () => {
  await socket[Symbol.asyncDispose]();
  await arena[Symbol.asyncDispose]();
  model.stop();
  await bytes.stop(true);
});

interface Ended {
  readonly run_id: string;
  readonly status: string;
  readonly error?: { readonly code: string; readonly message: string };
}

let sessions = 0;
/** Asks the model; how the run ended, and the message it left. */
async function ask(name = "test/model"): Promise<{ run: Ended; content: string; status: string | null }> {
  const session_id = `s${++sessions}`;
  const { run_id } = await socket.request("chat.send", {
    session_id,
    message: PROMPT,
    model: name,
    subscribe: false,
  });
  const run = await socket.request("run.wait", { run_id, timeout_ms: 20_000 });
  const { messages } = await socket.request("chat.history", { session_id });
  const said = messages.find(({ role }: { role: string }) => role === "assistant");
  return { run, content: said?.content ?? "", status: said?.status ?? null };
}

/** One every 20 ms, for longer than anybody waits. */
function comments(reply: Script): Script {
  for (let i = 0; i < 200; i++) reply.wait(20).raw(": ping\n\n");
  return reply;
}

describe("an answer that does not come to its end", () => {
  const endless: [string, (reply: Script) => Script, RegExp][] = [
    ["nothing at all", (reply) => reply.silence(), /^TIMEOUT .*first_token_timeout_ms/],
    ["a head and no body", (reply) => reply.hang(), /^TIMEOUT .*first_token_timeout_ms/],
    ["silence after a word", (reply) => reply.text("word").hang(), /^TIMEOUT .*idle_timeout_ms/],
    ["a clean end without a reason", (reply) => reply.text("word").cut(), /^UPSTREAM_ERROR /],
    ["a reset", (reply) => reply.text("word").reset(), /^UPSTREAM_ERROR /],
    [
      "a line without end",
      (reply) => reply.raw("data: ").pour("x".repeat(MIB)),
      /^UPSTREAM_ERROR .*too much at once/,
    ],
    [
      "an event without end",
      (reply) => reply.pour("data: x\n".repeat(10_000)),
      /^UPSTREAM_ERROR .*too much at once/,
    ],
    ["comments and nothing else", comments, /^TIMEOUT .*first_token_timeout_ms/],
    ["what is no JSON", (reply) => reply.malformed(), /^UPSTREAM_ERROR .*not JSON/],
    ["a page", (reply) => reply.raw("<html><body>not a model</body></html>\n\n").cut(), /^UPSTREAM_ERROR /],
    [
      "JSON that is too deep",
      (reply) => reply.raw(`data: ${"[".repeat(100_000)}\n\n`).cut(),
      /^UPSTREAM_ERROR /,
    ],
    [
      "JSON of another kind",
      (reply) => reply.raw('data: {"choices":{"__proto__":1}}\n\ndata: []\n\ndata: 7\n\n').cut(),
      /^UPSTREAM_ERROR /,
    ],
    ["a refusal of 64 MiB", (reply) => reply.status(500, { body: "x".repeat(64 * MIB) }), /^UPSTREAM_ERROR /],
    [
      "its caller's key",
      (reply) => reply.status(401, { body: JSON.stringify({ error: { message: `bad key ${KEY}` } }) }),
      /^UPSTREAM_ERROR /,
    ],
    [
      "a redirect inwards",
      (reply) => reply.status(307, { headers: { location: `${arena.gateway.url}/api/v1/sessions` } }),
      /^UPSTREAM_ERROR .*redirect/,
    ],
    [
      "lines for somebody else's log",
      (reply) =>
        reply.status(400, {
          body: JSON.stringify({ error: { message: 'a\r\n{"level":"error","msg":"forged"}' } }),
        }),
      /^UPSTREAM_ERROR /,
    ],
  ];
  test(
    "the run fails once, and says why",
    () =>
      arena.beside(async () => {
        for (const [what, write, expected] of endless) {
          write(model.reply());
          const { run } = await ask();
          expect([what, run.status]).toEqual([what, "failed"]);
          expect(`${run.error?.code} ${run.error?.message}`).toMatch(expected);
          expect(run.error?.message).not.toContain(KEY);
          await model.waitForIdle();
        }
      }),
    TRIES_MS,
  );

  test("text without end is kept up to its bound, and the model is left", () =>
    arena.beside(async () => {
      const chunk = JSON.stringify({ choices: [{ index: 0, delta: { content: "word ".repeat(200) } }] });
      model.reply().pour(`data: ${chunk}\n\n`);
      const { run, content, status } = await ask();
      expect([run.status, run.error?.code, status]).toEqual(["failed", "TOO_LARGE", "partial"]);
      expect(content.length).toBeGreaterThan(ASSISTANT_BYTES / 2);
      expect(content.length).toBeLessThanOrEqual(ASSISTANT_BYTES);
      await model.waitForIdle();
    }));

  test("a line of 100 MiB is given up long before its end", () =>
    arena.beside(async () => {
      let sent = 0;
      body = () =>
        new ReadableStream({
          start: (controller) => controller.enqueue(Buffer.from("data: ")),
          pull: (controller) => {
            if (sent++ < LINE_MIB) controller.enqueue(Buffer.alloc(MIB, 120));
            else controller.close();
          },
        });
      const { run } = await ask("bytes/model");
      expect([run.status, run.error?.code]).toEqual(["failed", "UPSTREAM_ERROR"]);
      expect(sent).toBeLessThan(LINE_MIB / 2);
    }));

  test("an answer that is aborted is left at once, however it pours", () =>
    arena.beside(async () => {
      for (const write of [
        (reply: Script) => reply.tokens(10_000, { everyMs: 1 }),
        (reply: Script) => reply.text("word").hang(),
        (reply: Script) => reply.silence(),
      ]) {
        const asked = model.asked;
        write(model.reply());
        const { run_id } = await socket.request("chat.send", {
          session_id: `a${asked}`,
          message: "go",
          subscribe: false,
        });
        await model.waitForRequests(asked + 1);
        const aborted = await socket.request("chat.abort", { run_id });
        expect(aborted.run_ids).toEqual([run_id]);
        expect((await socket.request("run.get", { run_id })).status).toBe("aborted");
        await model.waitForIdle();
      }
    }));
});

test("bytes that are not UTF-8 become text that is, for everybody who reads it", () =>
  arena.beside(async () => {
    const delta = (content: readonly number[]): Buffer =>
      Buffer.concat([
        Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"a'),
        Buffer.from(content),
        Buffer.from('b"}}]}\n\n'),
      ]);
    const end = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
    const wrong = [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0x80]];
    body = () =>
      new ReadableStream({
        start(controller) {
          for (const each of wrong) controller.enqueue(delta(each));
          controller.enqueue(Buffer.from(end));
          controller.close();
        },
      });
    const { run, content } = await ask("bytes/model");
    expect(run.status).toBe("completed");
    expect(content).toMatch(/^(?:a\ufffd+b){6}$/);
  }));

test("a hundred answers at once that never end are ended by their time, and the next one is answered", () =>
  arena.beside(async () => {
    model.otherwise(() => script().text("word").hang());
    const runs = await Promise.all(
      Array.from({ length: 100 }, (_, i) => arena.call("chat.send", { session_id: `m${i}`, message: "go" })),
    );
    const ends = await Promise.all(
      runs.map(({ run_id }) => arena.call("run.wait", { run_id, timeout_ms: 20_000 })),
    );
    expect(new Set(ends.map(({ status, error }) => `${status} ${error?.code}`))).toEqual(
      new Set(["failed TIMEOUT"]),
    );
    model.otherwise(() => script().text("fine"));
    const { run, content } = await ask();
    expect([run.status, content]).toEqual(["completed", "fine"]);
    expect((await arena.call("system.status")).runs).toEqual({ active: 0, queued: 0 });
  }));
