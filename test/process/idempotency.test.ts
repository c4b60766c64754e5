import { expect, test } from "bun:test";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { startModelServer } from "../support/model-server.ts";
import { script } from "../support/model-script.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, RefusedRequest } from "../support/ws-client.ts";
import { seeded } from "../support/random.ts";

const CASES = Number(Bun.env["AGENTBUS_TEST_REPEATS"] ?? 48);
const KILLS = 4;
const METHODS = [
  "chat.send",
  "chat.inject",
  "session.create",
  "session.fork",
  "event.send",
  "event.broadcast",
] as const;
type Method = (typeof METHODS)[number];

type Params = Record<string, unknown>;
type Answer = Record<string, unknown>;

interface Case {
  readonly method: Method;
  readonly params: Params;
  /** What only the effect of this request contains. */
  readonly mark: string;
  readonly copies: number;
}

/** Repeats one request over whatever transport comes up until it is answered; the answer. */
class Sender {
  readonly gateway: RunningGateway;
  #socket: TestSocket | null = null;

  constructor(gateway: RunningGateway) {
    this.gateway = gateway;
  }

  async send(method: Method, params: Params, overRest: boolean): Promise<Answer> {
    for (;;) {
      try {
        return overRest ? await this.#rest(method, params) : await this.#frame(method, params);
      } catch (error) {
        if (error instanceof RefusedRequest && !error.retryable) throw error;
        // The gateway is down or went under the request: its outcome is open, and the key makes it safe to repeat.
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  async #rest(method: Method, params: Params): Promise<Answer> {
    const { gateway } = this;
    const response = await fetch(`${gateway.url}/api/v1/rpc/${method}`, {
      method: "POST",
      headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
      body: JSON.stringify(params),
    });
    const body = (await response.json()) as Answer;
    if (!response.ok) throw new RefusedRequest(body["error"] as never);
    return body;
  }

  async #frame(method: Method, params: Params): Promise<Answer> {
    const { gateway } = this;
    const headers = { authorization: `Bearer ${gateway.token}` };
    this.#socket ??= await openSocket(gateway.ws_url, { headers });
    try {
      return (await this.#socket.request(method, params)) as Answer;
    } catch (error) {
      if (error instanceof RefusedRequest) throw error;
      this.#socket = null;
      throw error;
    }
  }
}

function makeCase(i: number, random: () => number): Case {
  const method = METHODS[Math.floor(random() * METHODS.length)] ?? "chat.send";
  const mark = `mark-${i}-${Math.floor(random() * 1e9).toString(36)}`;
  const idempotency_key = `key-${i}`;
  const params: Record<Method, Params> = {
    "chat.send": { session_id: `send-${i}`, message: mark },
    "chat.inject": { session_id: "base", role: "user", content: mark },
    "session.create": { title: mark },
    "session.fork": { session_id: "base" },
    "event.send": { session_id: "base", event: "app.mark", payload: { mark }, durable: true },
    "event.broadcast": { event: "app.mark", payload: { mark } },
  };
  return {
    method,
    params: { ...params[method], idempotency_key },
    mark,
    copies: 1 + Math.floor(random() * 5),
  };
}

test(
  "each mutating request, sent up to five times over any transport and through kills, has one effect and one answer",
  async () => {
    const seed = Number(Bun.env["AGENTBUS_TEST_SEED"] ?? Date.now() % 1e9);
    const dice = seeded(seed);
    const random = (): number => dice.fraction();
    await using model = await startModelServer();
    model.otherwise(() => script().tokens(20, { everyMs: 5 }).finish("stop"));
    await using gateway = await startGateway({
      env: {
        AGENTBUS_LLM_PROVIDERS_TEST_BASE_URL: model.url(),
        AGENTBUS_LLM_DEFAULT_PROVIDER: "test",
        AGENTBUS_LLM_DEFAULT_MODEL: "fake-1",
      },
    });
    const senders = [new Sender(gateway), new Sender(gateway), new Sender(gateway)];
    await senders[0]?.send("session.create", { session_id: "base", title: "base" }, true);
    const cases = Array.from({ length: CASES }, (_, i) => makeCase(i, random));

    const answers = await Promise.all([
      ...cases.map((each, i) => repeat(each, senders, random, i)),
      killSometimes(gateway, random),
    ]);

    for (const [i, each] of cases.entries()) {
      const all = answers[i] ?? [];
      expect(`seed ${seed} case ${i} ${each.method}: ${new Set(all).size}`).toBe(
        `seed ${seed} case ${i} ${each.method}: 1`,
      );
    }
    const check = new Checker(gateway);
    for (const each of cases) {
      expect(`${each.mark} ${each.method} ${await check.effects(each)}`).toBe(
        `${each.mark} ${each.method} 1`,
      );
    }
    const forks = new Set(
      cases.flatMap((each, i) => (each.method === "session.fork" ? (answers[i] ?? []) : [])),
    );
    expect(await check.untitledForks()).toBe(forks.size);
  },
  { timeout: 120_000 },
);

/** All copies at once and one a little later; what each was answered, without what is about the connection. */
async function repeat(each: Case, senders: Sender[], random: () => number, i: number): Promise<string[]> {
  await new Promise((resolve) => setTimeout(resolve, i * 25));
  const copies = Array.from({ length: each.copies }, async () => {
    const sender = senders[Math.floor(random() * senders.length)];
    if (sender === undefined) throw new Error("no sender");
    const answer = await sender.send(each.method, each.params, random() < 0.4);
    const { subscribed: _subscribed, from: _from, updated_at: _at, head: _head, ...same } = answer;
    const { message_count: _count, active_run_id: _run, ...rest } = same;
    return JSON.stringify(Object.entries(rest).sort());
  });
  return Promise.all(copies);
}

async function killSometimes(gateway: RunningGateway, random: () => number): Promise<string[]> {
  for (let kill = 0; kill < KILLS; kill++) {
    await new Promise((resolve) => setTimeout(resolve, 150 + random() * 250));
    gateway.kill("SIGKILL");
    await gateway.exited;
    await gateway.restart();
  }
  return [];
}

class Checker {
  readonly #gateway: RunningGateway;
  constructor(gateway: RunningGateway) {
    this.#gateway = gateway;
  }

  async #call(method: string, params: Params): Promise<Answer> {
    const response = await fetch(`${this.#gateway.url}/api/v1/rpc/${method}`, {
      method: "POST",
      headers: { authorization: `Bearer ${this.#gateway.token}`, "content-type": "application/json" },
      body: JSON.stringify(params),
    });
    return (await response.json()) as Answer;
  }

  /** How often the request took effect. A broadcast leaves none behind. */
  async effects({ method, mark, params }: Case): Promise<number> {
    switch (method) {
      case "chat.send":
      case "chat.inject": {
        const { messages } = (await this.#call("chat.history", {
          session_id: params["session_id"],
          limit: 1000,
        })) as {
          messages: { content: string }[];
        };
        return messages.filter((message) => message.content === mark).length;
      }
      case "session.create": {
        const { sessions } = (await this.#call("session.list", { query: mark, limit: 200 })) as {
          sessions: unknown[];
        };
        return sessions.length;
      }
      case "event.send": {
        await using socket = await openSocket(this.#gateway.ws_url, {
          headers: { authorization: `Bearer ${this.#gateway.token}` },
        });
        await socket.request("session.subscribe", { session_id: "base", after: 0, catch_up: "log" });
        await socket.nextEvent("session.synced");
        return socket.frames.filter(({ raw }) => raw.includes(mark)).length;
      }
      case "session.fork":
      case "event.broadcast":
        return 1;
    }
  }

  /** Forks of "base": they carry its title and a gateway id. */
  async untitledForks(): Promise<number> {
    const { sessions } = (await this.#call("session.list", { query: "base", limit: 200 })) as {
      sessions: { session_id: string }[];
    };
    return sessions.filter((session) => session.session_id.startsWith("ses_")).length;
  }
}
