import { afterAll, beforeAll, expect, test } from "bun:test";
import { createClient } from "../../src/client/client.ts";
import type { Client } from "../../src/client/client.ts";
import type { ClientSession } from "../../src/client/session.ts";
import type { Run } from "../../src/protocol/entities.ts";
import { freePort } from "../support/free-port.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { call, readLog } from "./direct.ts";

const CLIENTS = 200;
const SESSIONS = 10;
const GRACE_SECS = 2;
/** What the clients are promised, with five times its value. */
const BACK_MS = 5_000;
const NOTES = "notes";

let model: ModelServer;
beforeAll(async () => {
  model = await startModelServer();
});
afterAll(() => model.stop());

async function start(): Promise<RunningGateway> {
  return startGateway({
    config: {
      server: { shutdown_grace_secs: GRACE_SECS },
      // All of them come from one address.
      limits: { max_unauthenticated: 2 * CLIENTS, max_unauthenticated_per_address: 2 * CLIENTS },
      llm: {
        default_provider: "test",
        default_model: "test/model",
        providers: { test: { base_url: model.url() } },
      },
    },
    env: { AGENTBUS_SERVER_PORT: String(await freePort()) },
  });
}

/** Clients of the library, each with one session before its eyes. */
function gather(gateway: RunningGateway): { clients: Client[]; sessions: ClientSession[]; leave(): void } {
  const clients = Array.from({ length: CLIENTS }, () =>
    createClient({ url: gateway.url, auth_token: gateway.token, max_reconnect_attempts: 0 }),
  );
  const sessions = clients.map((client, i) => client.session(`talk-${i % SESSIONS}`));
  const leaves = sessions.map(({ state }) => state.subscribe(() => undefined));
  const leave = (): void => {
    for (const each of leaves) each();
    for (const client of clients) client.disconnect();
  };
  return { clients, sessions, leave };
}

/** Notes down one word after the other; ends after so many of them, those before the takeover and those after it. */
async function takeNotes(client: Client, count: number): Promise<string[]> {
  const acknowledged: string[] = [];
  while (acknowledged.length < count) {
    const n = acknowledged.length;
    const content = `note ${n}`;
    const note = { session_id: NOTES, role: "user", content, idempotency_key: `note-${n}` } as const;
    await client.request("chat.inject", note);
    acknowledged.push(content);
    await Bun.sleep(20);
  }
  return acknowledged;
}

test(`another process takes the place of one that ${CLIENTS} clients talk to, and nothing is lost`, async () => {
  await using gateway = await start();
  await call(gateway, "session.create", { session_id: NOTES });
  const { clients, sessions, leave } = gather(gateway);
  try {
    await Promise.all(clients.map((client) => client.connect()));
    // Every other answer is over within the grace.
    const runs: string[] = [];
    for (let i = 0; i < SESSIONS; i++) {
      model.reply().tokens(i % 2 === 0 ? 40 : 4_000, { everyMs: 25 });
      const sent = { session_id: `talk-${i}`, message: "say much" };
      runs.push((await call<{ run_id: string }>(gateway, "chat.send", sent)).run_id);
      // Each takes the script that was made for it.
      await model.waitForRequests(i + 1);
    }
    const isWriting = ({ state }: ClientSession): boolean =>
      (state.getSnapshot().messages.at(-1)?.content.length ?? 0) > 20;
    await Promise.all(sessions.map((session) => session.state.until(() => isWriting(session))));
    await takeNotes(clients[0] as Client, 10);
    // What is noted down while the first one stops waits for the second.
    const later = takeNotes(clients[1] as Client, 60);

    const { exit_code, gap_ms } = await gateway.takeover();
    const listening = performance.now();
    await Promise.all(sessions.map(({ state }) => state.until(({ status }) => status === "live")));
    const back_ms = performance.now() - listening;
    expect(exit_code).toBe(0);
    expect(back_ms).toBeLessThan(BACK_MS);

    console.log(
      `nobody listened for ${Math.round(gap_ms)} ms; ${CLIENTS} clients back ${Math.round(back_ms)} ms later`,
    );

    const acknowledged = await later;
    const kept = await readLog(gateway, NOTES);
    expect(kept.transcript.messages.map(({ content }) => content)).toEqual(acknowledged);
    await checkEnds(gateway, runs);
    await checkFolds(gateway, sessions);
  } finally {
    leave();
  }
}, 60_000);

async function checkEnds(gateway: RunningGateway, runs: readonly string[]): Promise<void> {
  const states = await Promise.all(runs.map((run_id) => call<Run>(gateway, "run.get", { run_id })));
  const expected = runs.map((_, i) => (i % 2 === 0 ? "completed" : "interrupted"));
  expect(states.map(({ status }) => status)).toEqual(expected as Run["status"][]);
}

/** Everybody has what the log says. */
async function checkFolds(gateway: RunningGateway, sessions: readonly ClientSession[]): Promise<void> {
  for (let n = 0; n < SESSIONS; n++) {
    const { events, transcript, head } = await readLog(gateway, `talk-${n}`);
    const ends = events.filter(({ event }) => /^run\.(completed|failed|aborted|interrupted)$/.test(event));
    expect(ends).toHaveLength(1);
    const said = transcript.messages.map(({ message_id, content, status }) => ({
      message_id,
      content,
      status,
    }));
    for (const { state } of sessions.filter((_, i) => i % SESSIONS === n)) {
      const { messages } = await state.until(({ cursor }) => (cursor?.seq ?? 0) >= head);
      const seen = messages.map(({ message_id, content, status }) => ({ message_id, content, status }));
      expect(seen).toEqual(said);
    }
  }
}

test("a message that is sent over HTTP while one stops is taken by the other, once", async () => {
  await using gateway = await start();
  await call(gateway, "session.create", { session_id: "slow" });
  const client = createClient({ url: gateway.url, auth_token: gateway.token, transport: "sse" });
  try {
    await client.connect();
    model.reply().tokens(4_000, { everyMs: 25 });
    await call(gateway, "chat.send", { session_id: "slow", message: "say much" });
    const { url } = gateway;
    const over = gateway.takeover();
    const status = async (): Promise<string> =>
      ((await (await fetch(`${url}/status`)).json()) as { status: string }).status;
    while ((await status()) !== "draining") await Bun.sleep(10);
    // Nothing else is asked for on this connection that could tell that it is another gateway's by then.
    const sent = client.session("said").send("once");
    await over;
    expect(await sent).toMatchObject({ session_id: "said" });
    const { transcript } = await readLog(gateway, "said");
    expect(transcript.messages.filter(({ role }) => role === "user").map(({ content }) => content)).toEqual([
      "once",
    ]);
  } finally {
    client.disconnect();
  }
}, 40_000);

test("without a gateway to take the place of it simply starts", async () => {
  await using gateway = await start();
  gateway.kill("SIGKILL");
  await gateway.exited;
  await gateway.takeover();
  expect(await call<{ status: string }>(gateway, "system.status")).toBeTruthy();
}, 30_000);
