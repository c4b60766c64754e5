import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import type { MadeCertificate } from "../support/certificates.ts";
import { makeCertificate } from "../support/certificates.ts";
import { workplace } from "../support/executable.ts";
import { freePort } from "../support/free-port.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { RunningProxy } from "../support/proxies.ts";
import { openEvents } from "../support/sse-client.ts";
import type { Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import { BALANCERS } from "./balancers.ts";
import type { ClusterNode, Nodes } from "./nodes.ts";
import { startNodes, TAKEOVER_MS } from "./nodes.ts";

setDefaultTimeout(180_000);

/** Longer than HAProxy takes to see that a node stops, also on a busy machine. */
const DELAY_SECS = 8;
const GRACE_SECS = 60;

const folder = workplace();
let certificate: MadeCertificate;
let nodes: Nodes;
let ports: number[];
/** Of somebody whom every node knows. */
let token: string;

const isHere = hasPostgres && BALANCERS.length > 0;

beforeAll(async () => {
  if (!isHere) return;
  certificate = makeCertificate(folder.path, "balancer");
  ports = await Promise.all([freePort(), freePort(), freePort()]);
  nodes = await startNodes({
    count: 1,
    config: {
      server: {
        public_url: "https://localhost",
        trusted_proxies: ["127.0.0.1"],
        shutdown_delay_secs: DELAY_SECS,
        shutdown_grace_secs: GRACE_SECS,
      },
      log: { levels: { transport: "debug" } },
    },
    envOf: (at) => ({ AGENTBUS_SERVER_PORT: String(ports[at]) }),
  });
  const made = await nodes.node(0).owner.call("token.create", { name: "clients", role: "user" });
  token = made.token as string;
  await nodes.add();
  await nodes.add();
});
afterAll(async () => {
  await nodes?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const tls = () => ({ ca: certificate.cert });
const bearer = () => ({ authorization: `Bearer ${token}` });

/** What server_info says of whoever answers there. */
async function greeted(url: string): Promise<{ socket: TestSocket; node_id: string }> {
  const socket = await openSocket(`${url}/ws`, { headers: bearer(), tls: tls() });
  const { server_info } = await socket.request("connect", { client_name: "test" });
  return { socket, node_id: server_info.node_id };
}

/** Which node answered a request of that id. */
function landedAt(request_id: string): ClusterNode | undefined {
  return nodes.all.find(({ gateway }) => gateway.log.some((line) => line["request_id"] === request_id));
}

interface Answered {
  readonly status: number;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly json: any;
  readonly request_id: string;
}

let requests = 0;
/** One request, once; what the balancer itself says is no JSON. */
async function post(url: string, method: string, params: Record<string, unknown>): Promise<Answered> {
  const request_id = `test-${++requests}`;
  const response = await fetch(`${url}/api/v1/rpc/${method}`, {
    method: "POST",
    headers: { ...bearer(), "content-type": "application/json", "x-request-id": request_id },
    body: JSON.stringify(params),
    tls: tls(),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
  return { status: response.status, json: isJson ? JSON.parse(text) : null, request_id };
}

/** As any client does it: what was not taken, or not answered, is sent again with its key. */
async function sendSafely(url: string, method: string, params: Record<string, unknown>): Promise<Answered> {
  const keyed = { ...params, idempotency_key: `safely-${++requests}` };
  return eventually(
    () => post(url, method, keyed).catch(() => null),
    (answer): answer is Answered => answer !== null && ![502, 503, 504].includes(answer.status),
    TAKEOVER_MS,
  ) as Promise<Answered>;
}

function follow(url: string, session_id: string, count: number): Watcher[] {
  return Array.from({ length: count }, (_, at) =>
    startWatcher({
      name: `watcher ${at}`,
      session_id,
      token,
      tls: tls(),
      route: () => url,
      transport: () => (at % 2 === 0 ? "ws" : "sse"),
    }),
  );
}

const statuses = ({ transcript }: Watcher): string[] => transcript.runs.map(({ status }) => status);

describe.skipIf(!isHere).each(BALANCERS)("$name", (example) => {
  const { asks, sticky } = example;
  let balancer: RunningProxy;
  let url: string;
  beforeAll(async () => {
    const [port, spare] = [await freePort(), await freePort()];
    url = `https://localhost:${port}`;
    balancer = await example.start({ certificate, ports, folder }, port, spare);
  });
  afterAll(() => balancer?.[Symbol.asyncDispose]());

  /** The nodes behind so many sockets that are open at once. */
  async function spread(count: number): Promise<Set<string>> {
    const open: TestSocket[] = [];
    const seen = new Set<string>();
    for (let i = 0; i < count; i++) {
      const { socket, node_id } = await greeted(url);
      open.push(socket);
      seen.add(node_id);
    }
    await Promise.all(open.map((socket) => socket[Symbol.asyncDispose]()));
    return seen;
  }

  test("a client is served as by one node", async () => {
    const session_id = `talk-${url.slice(-5)}`;
    const count = (await spread(6)).size;
    expect(count).toBe(sticky ? 1 : 3);
    await using socket = (await greeted(url)).socket;
    await using there = (await greeted(url)).socket;
    const events = await (async () => {
      await socket.request("session.create", { session_id });
      return openEvents(`${url}/api/v1/sessions/${session_id}/events`, { headers: bearer(), tls: tls() });
    })();
    await there.request("session.subscribe", { session_id });
    // The model says nothing more: who waits for more of the stream than this waits for ever.
    nodes.model.reply().text("as it ").hang();
    const sent = await socket.request("chat.send", { session_id, message: "Hello" });
    for (const each of [socket, there]) {
      const { json } = await each.nextEvent("message.delta", 15_000);
      expect(json.payload.text).toBe("as it ");
    }
    await events.next(({ event }) => event === "message.delta");
    events.close();
    await there.request("chat.abort", { run_id: sent.run_id });
    await socket.nextEvent("run.aborted", 15_000);

    // A page that is loaded again, and what is asked over HTTP: wherever it lands it reads what was written.
    const reloaded = await post(url, "chat.history", { session_id });
    expect(reloaded.json.messages).toMatchObject([
      { role: "user", content: "Hello" },
      { role: "assistant", content: "as it ", status: "partial" },
    ]);
    const once = { session_id, message: "Once", idempotency_key: `once-${session_id}` };
    const answers: Answered[] = [];
    const places = new Set<ClusterNode | undefined>();
    // Several at once, so that they go to different nodes where they may.
    do {
      const some = await Promise.all(Array.from({ length: 4 }, () => post(url, "chat.send", once)));
      answers.push(...some);
      for (const { request_id } of some) {
        const at = await eventually(
          () => landedAt(request_id),
          (node) => node !== undefined,
        );
        places.add(at);
      }
    } while (!sticky && places.size < 2 && answers.length < 40);
    if (sticky) expect(places.size).toBe(1);
    else expect(places.size).toBeGreaterThan(1);
    expect(new Set(answers.map(({ json }) => json.run_id)).size).toBe(1);
    const { json } = await post(url, "run.wait", { run_id: answers[0]?.json.run_id });
    expect(json.status).toBe("completed");
    expect((await post(url, "chat.history", { session_id })).json.messages).toHaveLength(4);
  });

  test("a node that stops is given nothing new, and nobody at it loses anything", async () => {
    const session_id = `stop-${url.slice(-5)}`;
    nodes.model.reply().tokens(100, { everyMs: 150 });
    const sent = await sendSafely(url, "chat.send", { session_id, message: "A long one" });
    const owner = landedAt(sent.request_id) as ClusterNode;
    const direct = await openSocket(`${owner.url}/ws`, { headers: bearer() });
    const { server_info } = await direct.request("connect", { client_name: "direct" });
    const watchers = follow(url, session_id, 6);
    await Promise.all(watchers.map((each) => each.until(() => each.synced)));
    expect((await post(url, "session.create", { session_id: `notes-${session_id}` })).status).toBe(200);
    const noted: string[] = [];
    const refused: number[] = [];
    let over = false;
    const notes = (async () => {
      while (!over) {
        const note = { session_id: `notes-${session_id}`, role: "user", content: `note ${noted.length}` };
        // Told when to stop sending there, a balancer lets none of it be refused.
        const answer = asks
          ? await post(url, "chat.inject", note)
          : await sendSafely(url, "chat.inject", note);
        if (answer.status !== 200) refused.push(answer.status);
        noted.push(note.content);
        await Bun.sleep(100);
      }
    })();

    const stopped = owner.stop();
    const ready = await eventually(
      () => owner.owner.ask("GET", "/ready"),
      ({ status }) => status === 503,
    );
    expect(ready.json.checks.draining.ok).toBe(false);
    if (asks)
      await eventually(
        () => spread(4),
        (ids) => !ids.has(server_info.node_id),
        30_000,
      );
    expect((await direct.nextEvent("shutdown", 60_000)).json.payload.grace_ms).toBe(GRACE_SECS * 1_000);
    const after = await spread(6);
    expect(after.has(server_info.node_id)).toBe(false);
    expect(after.size).toBe(sticky ? 1 : 2);
    // The answer comes to its end there.
    await Promise.all(watchers.map((each) => each.until(() => statuses(each)[0] === "completed", 60_000)));
    expect(await stopped).toBe(0);
    await sendSafely(url, "chat.send", { session_id, message: "And now" });
    await Promise.all(
      watchers.map((each) => each.until(() => each.synced && statuses(each)[1] === "completed", 60_000)),
    );
    over = true;
    await notes;
    expect(refused).toEqual([]);
    const { json } = await post(url, "chat.history", { session_id: `notes-${session_id}`, limit: 500 });
    expect(json.messages.map(({ content }: { content: string }) => content)).toEqual(noted);
    await Promise.all(watchers.map((each) => each.stop()));
    // Back again it is given its part.
    await owner.restart();
    if (!sticky)
      await eventually(
        () => spread(6),
        (ids) => ids.size === 3,
        30_000,
      );
  });

  test("who was at a node that is killed goes on at another one", async () => {
    const session_id = `kill-${url.slice(-5)}`;
    nodes.model.reply().text("so far").hang();
    const sent = await sendSafely(url, "chat.send", { session_id, message: "first" });
    const owner = landedAt(sent.request_id) as ClusterNode;
    const watchers = follow(url, session_id, 4);
    await Promise.all(watchers.map((each) => each.until(() => each.transcript.messages.length === 2)));
    await owner.kill();
    await Promise.all(
      watchers.map((each) => each.until(() => statuses(each)[0] === "interrupted", TAKEOVER_MS)),
    );
    const again = await sendSafely(url, "chat.send", { session_id, message: "second" });
    expect(again.status).toBe(200);
    await Promise.all(
      watchers.map((each) => each.until(() => statuses(each)[1] === "completed", TAKEOVER_MS)),
    );
    await Promise.all(watchers.map((each) => each.stop()));
    await owner.restart();
  });
});
