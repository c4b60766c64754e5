import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { resolve } from "node:path";
import type { CutProxyOptions } from "../support/cut-proxy.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import { openSocket } from "../support/ws-client.ts";

const CHAT = resolve(import.meta.dir, "../../examples/python/chat.py");
const PROBE = ["-c", "import websockets"];
/** The Python that has the library: the system's, where another one comes first on the path. */
const PYTHON = ["python3", "/usr/bin/python3"].find(
  (command) =>
    Bun.which(command) !== null && Bun.spawnSync([command, ...PROBE], { stderr: "ignore" }).success,
);
const ready = PYTHON !== undefined || needs("python3", "python3-websockets", PROBE);
const TIMEOUT_MS = 60_000;
/** The answer to the request for a socket. */
const UPGRADE_BYTES = 166;

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function python(args: readonly string[], env: Record<string, string> = {}) {
  const child = Bun.spawn([PYTHON ?? "python3", "-B", ...args], {
    env: { PATH: Bun.env["PATH"] ?? "", PYTHONIOENCODING: "utf-8", PYTHONUNBUFFERED: "1", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const ended = async (): Promise<Ended> => {
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, out, err };
  };
  return { child, ended: ended() };
}

/** What the demo model answers to `/long 300`. */
const COUNTED = Array.from({ length: 300 }, (_, index) => String(index + 1)).join(" ");

describe.skipIf(!ready)("a client in Python", () => {
  let gateway: RunningGateway;
  let plan: NonNullable<CutProxyOptions["plan"]> = () => null;
  let count = 0;
  const proxy = startCutProxy({ target: () => gateway.address, plan: () => plan(count++) });
  beforeAll(async () => {
    gateway = await startGateway({ config: { server: { public_url: `http://${proxy.address}` } } });
  }, TIMEOUT_MS);
  afterAll(async () => {
    proxy.stop();
    await gateway[Symbol.asyncDispose]();
  });

  function chat(session: string, message: string, cuts: NonNullable<CutProxyOptions["plan"]>) {
    plan = cuts;
    count = 0;
    const env = { AGENTBUS_TOKEN: gateway.token, AGENTBUS_URL: `http://${proxy.address}` };
    return python([CHAT, "--session", session, message], env);
  }

  async function history(session_id: string) {
    await using socket = await openSocket(gateway.ws_url, {
      headers: { authorization: `Bearer ${gateway.token}` },
    });
    const { messages } = await socket.request("chat.history", { session_id });
    return messages as { role: string; content: string }[];
  }

  test(
    "prints the whole answer, cut off twice in the middle of it",
    async () => {
      const cut = { kind: "reset", side: "down", after_bytes: 6_000 } as const;
      const { code, out, err } = await chat("counted", "/long 300", (n) => (n < 2 ? cut : null)).ended;
      expect({ code, out }).toEqual({ code: 0, out: `${COUNTED}\n` });
      expect(err.match(/connection lost \(1006\); trying again/g)).toHaveLength(2);
      expect(await history("counted")).toMatchObject([
        { role: "user", content: "/long 300" },
        { role: "assistant", content: COUNTED },
      ]);
    },
    TIMEOUT_MS,
  );

  /** Bytes a socket gets up to the end of the answer to connect: the upgrade, then a frame with four bytes before it. */
  async function bytesOfHandshake(): Promise<number> {
    await using socket = await openSocket(gateway.ws_url);
    await socket.request("connect", { client_name: "chat.py", auth_token: gateway.token });
    return UPGRADE_BYTES + 4 + Buffer.byteLength(socket.frames[0]?.raw ?? "");
  }

  const places = {
    "before connect is answered": -500,
    "in the answer to chat.send": 100,
    "in the first events": 700,
  };
  for (const [place, offset] of Object.entries(places)) {
    test(
      `sends its message once, cut off twice ${place}`,
      async () => {
        const after_bytes = (await bytesOfHandshake()) + offset;
        const cuts: typeof plan = (n) => (n < 2 ? { kind: "reset", side: "down", after_bytes } : null);
        const session = `once${offset}`;
        const { code, out, err } = await chat(session, "/long 300", cuts).ended;
        expect({ code, out }).toEqual({ code: 0, out: `${COUNTED}\n` });
        expect(err.match(/trying again/g)).toHaveLength(2);
        expect((await history(session)).map(({ role }) => role)).toEqual(["user", "assistant"]);
      },
      TIMEOUT_MS,
    );
  }

  test(
    "goes on through a restart of the gateway, and says that the run was interrupted",
    async () => {
      await using behind = startCutProxy({ target: () => running.address });
      await using running = await startGateway({
        config: { server: { public_url: `http://${behind.address}` } },
      });
      const env = { AGENTBUS_TOKEN: running.token, AGENTBUS_URL: `http://${behind.address}` };
      const { ended } = python([CHAT, "--session", "storm", "/long 5000"], env);
      await using watcher = await openSocket(running.ws_url, {
        headers: { authorization: `Bearer ${running.token}` },
      });
      await watcher.next(({ json }) => json.event === "session.changed" && json.payload.head > 10, 20_000);
      running.kill("SIGKILL");
      await running.restart();
      const { code, out, err } = await ended;
      expect(code).toBe(1);
      expect(err).toContain("the run ended interrupted");
      expect("1 2 3 4 5 6 7 8".startsWith(out.slice(0, 15).trim())).toBe(true);
    },
    TIMEOUT_MS,
  );

  test(
    "stops when it is told not to come back",
    async () => {
      const { ended } = chat("ended", "/long 5000", () => null);
      await using socket = await openSocket(gateway.ws_url, {
        headers: { authorization: `Bearer ${gateway.token}` },
      });
      await socket.next(
        ({ json }) => json.event === "presence.updated" && json.payload.client_name === "chat.py",
        20_000,
      );
      await socket.next(
        ({ json }) => json.event === "session.changed" && json.payload.session_id === "ended",
        20_000,
      );
      const { clients } = await socket.request("client.list");
      const { connection_id } = clients.find(
        (each: { client_name: string }) => each.client_name === "chat.py",
      );
      await socket.request("client.disconnect", { connection_id, reason: "enough" });
      const { code, err } = await ended;
      expect({ code, err: err.trim() }).toEqual({
        code: 1,
        err: "chat.py: the gateway closed the connection: 4003 FORBIDDEN: enough",
      });
      await socket.request("chat.abort", { session_id: "ended" });
    },
    TIMEOUT_MS,
  );

  test(
    "a wrong token and a failing model are one line",
    async () => {
      const wrong = await python([CHAT, "Hello"], { AGENTBUS_TOKEN: "wrong", AGENTBUS_URL: gateway.url })
        .ended;
      expect({ ...wrong, err: wrong.err.split(":", 2).join(":") }).toEqual({
        code: 1,
        out: "",
        err: "chat.py: UNAUTHORIZED",
      });
      const failed = await chat("failed", "/fail", () => null).ended;
      expect(failed.code).toBe(1);
      expect(failed.err).toBe("chat.py: the run ended failed: the demo model failed, as /fail asked it to\n");
      expect(failed.out).toStartWith("You said: “/fail”");
    },
    TIMEOUT_MS,
  );
});

const THOUSAND = `
import asyncio, json, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1]) as socket:
        for i in range(1000):
            await socket.send('{"type":"req","id":"test-%d","method":"system.status"}' % i)
            answer = json.loads(await socket.recv())
            assert answer["type"] == "res" and answer["id"] == "test-%d" % i, answer
            assert answer["ok"] and answer["payload"]["status"] == "healthy", answer
    print("1000 answers")
asyncio.run(main())
`;

test.skipIf(!ready)(
  "a thousand requests without params or connect, one after the other, in mode none",
  async () => {
    await using gateway = await startGateway({ env: { AGENTBUS_AUTH_MODE: "none" } });
    for (const url of [gateway.ws_url, gateway.url.replace("http", "ws")]) {
      expect(await python(["-c", THOUSAND, url]).ended).toEqual({ code: 0, out: "1000 answers\n", err: "" });
    }
  },
  TIMEOUT_MS,
);
