import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Served } from "../support/executable.ts";
import { AGENTBUS, agentbus, plainEnvironment, serve, workplace } from "../support/executable.ts";

const DATA = ["--data-dir", "data"];
const LONG_MS = 30_000;

interface ChatAnswer {
  readonly session_id: string;
  readonly status: string;
  readonly content: string;
  readonly verified: boolean | null;
}
interface History {
  readonly head: number;
  readonly messages: { readonly role: string; readonly status: string; readonly content: string }[];
}

async function started(cwd: string, port = 0, grace_secs = 20): Promise<Served> {
  return serve(cwd, ["--port", String(port), ...DATA], {
    AGENTBUS_SERVER_SHUTDOWN_GRACE_SECS: String(grace_secs),
  });
}

async function call<T>(cwd: string, method: string, params: object = {}): Promise<T> {
  const { code, out, err } = await agentbus(["call", method, JSON.stringify(params), ...DATA], { cwd });
  if (code !== 0) throw new Error(`${method} ended with ${code}: ${err}`);
  return JSON.parse(out) as T;
}

describe("beside a running gateway", () => {
  test("status, call and their errors", async () => {
    using place = workplace();
    await using running = await started(place.path);
    const status = await agentbus(["status", "--json", ...DATA], { cwd: place.path });
    expect(status.code).toBe(0);
    expect(JSON.parse(status.out)).toMatchObject({
      url: running.url,
      status: "healthy",
      storage: { ok: true },
    });
    expect(await call<object>(place.path, "system.info")).toMatchObject({ name: "agentbus" });

    const piped = await agentbus(["call", "session.create", "-", ...DATA], {
      cwd: place.path,
      stdin: '{"title":"Piped"}',
    });
    expect(JSON.parse(piped.out)).toMatchObject({ title: "Piped" });
    const absent = await agentbus(["call", "nope", ...DATA], { cwd: place.path });
    expect([absent.code, absent.out]).toEqual([1, ""]);
    expect(absent.err).toContain('no method "nope"');
  });

  test("a wrong token is exit 4; the local token never goes to another address", async () => {
    using place = workplace();
    await using running = await started(place.path);
    await using other = await serve(place.path, ["--port", "0", "--data-dir", "other"]);
    const env = { AGENTBUS_TOKEN: "agb_wrong" };
    const wrong = await agentbus(["status", ...DATA], { cwd: place.path, env });
    expect([wrong.code, wrong.out]).toEqual([4, ""]);
    const elsewhere = await agentbus(["status", "--url", other.url, ...DATA], { cwd: place.path });
    expect(elsewhere.code).toBe(4);
    expect(elsewhere.err).toContain("no token was found");
    const named = await agentbus(["status", "--url", running.url, ...DATA], { cwd: place.path });
    expect(named.code).toBe(0);
    const file = join(place.path, "other", "token");
    expect(
      (await agentbus(["status", "--url", other.url, "--token-file", file], { cwd: place.path })).code,
    ).toBe(0);
  });

  test("chat, piped: as text, as JSON, into a session; a failed run is exit 1", async () => {
    using place = workplace();
    await using _running = await started(place.path);
    const text = await agentbus(["chat", ...DATA], { cwd: place.path, stdin: "/long 20\n" });
    expect(text).toEqual({ code: 0, out: `${count(20)}\n`, err: "" });
    const argv = ["chat", "--json", "--session", "mine", ...DATA];
    const answer = JSON.parse((await agentbus(argv, { cwd: place.path, stdin: "hi" })).out) as ChatAnswer;
    expect(answer).toMatchObject({ session_id: "mine", status: "completed", verified: true });
    expect(answer.content).toContain("You said: “hi”");
    await agentbus(["chat", "/long 3", "--session", "mine", ...DATA], { cwd: place.path });
    const { messages } = await call<History>(place.path, "chat.history", { session_id: "mine" });
    expect(messages.map(({ content }) => content)).toEqual(["hi", answer.content, "/long 3", "1 2 3"]);
    const failed = await agentbus(["chat", "/fail", ...DATA], { cwd: place.path });
    expect(failed.code).toBe(1);
    expect(failed.err).toContain("the run failed");
  });

  test("watch: every event of the log, once, from where it is told", async () => {
    using place = workplace();
    await using _running = await started(place.path);
    await agentbus(["chat", "/long 30", "--session", "s", ...DATA], { cwd: place.path });
    const { head } = await call<History>(place.path, "chat.history", { session_id: "s" });
    const all = await watched(place.path, ["s", "--after", "0"], head + 1);
    expect(all[0]).toMatchObject({ event: "session.resumed", from: 0, head });
    expect(all.slice(1).map(({ seq }) => seq)).toEqual(Array.from({ length: head }, (_, i) => i + 1));
    const epoch = String(all[1]?.["epoch"]);
    const rest = await watched(place.path, ["s", "--after", `${epoch}.${head - 2}`], 3);
    expect(rest.slice(1).map(({ seq }) => seq)).toEqual([head - 1, head]);
    const absent = await agentbus(["watch", "nobody", ...DATA], { cwd: place.path });
    expect([absent.code, absent.out]).toEqual([1, ""]);
  });

  test(
    "tokens: made, listed, used, rotated, revoked; with the gateway and without",
    async () => {
      using place = workplace();
      const token = async (argv: string[]) => agentbus(["token", ...argv, ...DATA], { cwd: place.path });
      const status = async (secret: string) =>
        (
          await agentbus(["call", "system.info", ...DATA], {
            cwd: place.path,
            env: { AGENTBUS_TOKEN: secret },
          })
        ).code;
      const names = async () => {
        const { tokens } = JSON.parse((await token(["list", "--json"])).out) as {
          tokens: { name: string; token_id: string }[];
        };
        return tokens.map(({ name }) => name);
      };
      let id: string;
      let secret: string;
      {
        await using running = await started(place.path);
        const made = await token(["create", "bot", "--role", "user"]);
        expect(made.code).toBe(0);
        expect(made.out).toMatch(/^agb_\S+\n$/);
        secret = made.out.trim();
        id = /tok_\w+/.exec(made.err)?.[0] ?? "";
        expect(await status(secret)).toBe(0);
        expect(await names()).toContain("bot");
        const rotated = (await token(["rotate", id])).out.trim();
        expect(await status(secret)).toBe(4);
        expect(await status(rotated)).toBe(0);
        secret = rotated;
        running.signal("SIGTERM");
        expect(await running.exited).toBe(0);
      }
      expect(await names()).toContain("bot");
      expect((await token(["create", "offline"])).code).toBe(0);
      expect((await token(["revoke", id])).out).toBe("revoked\n");
      await using _again = await started(place.path);
      expect(await names()).toContain("offline");
      expect(await status(secret)).toBe(4);
    },
    LONG_MS,
  );
});

async function watched(
  cwd: string,
  argv: readonly string[],
  lines: number,
): Promise<Record<string, unknown>[]> {
  const child = Bun.spawn([...AGENTBUS, "watch", ...argv, ...DATA], {
    cwd,
    env: plainEnvironment(),
    stdout: "pipe",
  });
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    text += decoder.decode(chunk, { stream: true });
    if (text.split("\n").length > lines) child.kill("SIGINT");
  }
  expect(await child.exited).toBe(0);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function count(upto: number): string {
  return Array.from({ length: upto }, (_, i) => i + 1).join(" ");
}
