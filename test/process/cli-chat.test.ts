import { describe, expect, test } from "bun:test";
import type { Outcome, Served } from "../support/executable.ts";
import { AGENTBUS, agentbus, inTerminal, plainEnvironment, serve, workplace } from "../support/executable.ts";

const DATA = ["--data-dir", "data"];
const LONG_MS = 30_000;

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

/** A chat that runs while the test does something to its gateway. */
function chatting(cwd: string, argv: readonly string[]) {
  const child = Bun.spawn([...AGENTBUS, "chat", ...argv, ...DATA], {
    cwd,
    env: plainEnvironment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const text = { out: "" };
  const read = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) text.out += decoder.decode(chunk, { stream: true });
  })();
  return {
    pid: child.pid,
    get out() {
      return text.out;
    },
    async until(chars: number): Promise<void> {
      while (text.out.length < chars) {
        if (child.exitCode !== null)
          throw new Error(`chat ended with ${child.exitCode} after ${text.out.length} characters`);
        await Bun.sleep(5);
      }
    },
    interrupt: () => child.kill("SIGINT"),
    async ended(): Promise<Outcome> {
      const [code, err] = await Promise.all([child.exited, new Response(child.stderr).text(), read]);
      return { code, out: text.out, err };
    },
  };
}

describe("chat through what happens to the gateway", () => {
  test(
    "one that begins, or takes the place of another, is waited for; where nobody is about to listen that is said at once",
    async () => {
      using place = workplace();
      const began = performance.now();
      const nobody = await chatting(place.path, ["Hello"]).ended();
      expect([nobody.code, nobody.err]).toEqual([3, expect.stringContaining("no gateway answers")]);
      const took_ms = performance.now() - began;
      place.file("data/pid", `${process.pid}\n`);
      const chat = chatting(place.path, ["Hello"]);
      // By now it would have said so.
      await Bun.sleep(took_ms + 200);
      await using _gateway = await started(place.path);
      expect(await chat.ended()).toMatchObject({ code: 0, out: expect.stringContaining("You said") });
    },
    LONG_MS,
  );

  test(
    "killed and started again: not a word is lost, and it says how it ended",
    async () => {
      using place = workplace();
      const first = await started(place.path);
      const chat = chatting(place.path, ["/long 2000", "--session", "s"]);
      await chat.until(500);
      first.signal("SIGKILL");
      await first.exited;
      await using _second = await started(place.path, first.port);
      const { code, out, err } = await chat.ended();
      expect(code).toBe(1);
      expect(err).toContain("connected again");
      expect(err).toContain("was interrupted");
      const { messages } = await call<History>(place.path, "chat.history", { session_id: "s" });
      expect(messages.map(({ role, status }) => [role, status])).toEqual([
        ["user", "complete"],
        ["assistant", "partial"],
      ]);
      expect(out).toBe(`${messages[1]?.content}\n`);
      expect(count(2_000)).toStartWith(messages[1]?.content ?? "-");
    },
    LONG_MS,
  );

  test(
    "asked to stop: the answer that is being written is finished first",
    async () => {
      using place = workplace();
      await using running = await started(place.path);
      const chat = chatting(place.path, ["/long 300"]);
      await chat.until(100);
      running.signal("SIGTERM");
      expect(await chat.ended()).toMatchObject({ code: 0, out: `${count(300)}\n` });
      expect(await running.exited).toBe(0);
    },
    LONG_MS,
  );

  test(
    "asked twice: at once, and the answer ends as far as it came",
    async () => {
      using place = workplace();
      const first = await started(place.path, 0, 600);
      const chat = chatting(place.path, ["/long 9000"]);
      await chat.until(100);
      first.signal("SIGTERM");
      // Two signals of a kind at once are one to the system.
      while ((await statusOf(first.url)) !== "draining") await Bun.sleep(5);
      first.signal("SIGTERM");
      expect(await first.exited).toBe(0);
      await using _second = await started(place.path, first.port);
      const { code, out, err } = await chat.ended();
      expect([code, err.includes("was interrupted")]).toEqual([1, true]);
      expect(`${count(9_000)} `).toStartWith(out.trimEnd());
    },
    LONG_MS,
  );

  test(
    "Ctrl-C stops the answer; the session goes on",
    async () => {
      using place = workplace();
      await using _running = await started(place.path);
      const chat = chatting(place.path, ["/long 9000", "--session", "s"]);
      await chat.until(100);
      chat.interrupt();
      const { code, err } = await chat.ended();
      expect([code, err]).toEqual([1, "agentbus: the run was aborted\n"]);
      const next = await agentbus(["chat", "/long 3", "--session", "s", ...DATA], { cwd: place.path });
      expect(next.out).toBe("1 2 3\n");
    },
    LONG_MS,
  );
});

describe("chat in a terminal", () => {
  test("leaves with the reason when the gateway sends it away", async () => {
    using place = workplace();
    await using _running = await started(place.path);
    const made = await agentbus(["token", "create", "guest", ...DATA], { cwd: place.path });
    const env = { AGENTBUS_TOKEN: made.out.trim() };
    await using chat = inTerminal(["chat", ...DATA], { cwd: place.path, env });
    await chat.until("a prompt", (shown) => shown.includes("> "));
    const id = /tok_\w+/.exec(made.err)?.[0] ?? "";
    await agentbus(["token", "revoke", id, ...DATA], { cwd: place.path });
    expect(await chat.exited).toBe(4);
    expect(chat.shown).toContain("revoked");
  });

  test(
    "answers line by line, Ctrl-C stops one answer, then leaves; the session can be taken up",
    async () => {
      using place = workplace();
      await using _running = await started(place.path);
      {
        await using chat = inTerminal(["chat", "--session", "s", ...DATA], { cwd: place.path });
        await chat.until("a prompt", (shown) => shown.includes("> "));
        chat.type("/long 5\r");
        await chat.until("the answer", (shown) => shown.includes("1 2 3 4 5\n"));
        chat.type("/long 9000\r");
        await chat.until("the long answer", (shown) => shown.includes(count(50)));
        chat.type("\u0003");
        await chat.until("its end", (shown) => shown.includes("the run was aborted"));
        chat.type("\u0003");
        expect(await chat.exited).toBe(0);
      }
      await using again = inTerminal(["chat", "--session", "s", ...DATA], { cwd: place.path });
      await again.until("what was said", (shown) => shown.includes("1 2 3 4 5"));
      again.type("\u0004");
      expect(await again.exited).toBe(0);
    },
    LONG_MS,
  );
});

async function statusOf(url: string): Promise<unknown> {
  return ((await (await fetch(`${url}/status`)).json()) as { status: unknown }).status;
}

function count(upto: number): string {
  return Array.from({ length: upto }, (_, i) => i + 1).join(" ");
}
