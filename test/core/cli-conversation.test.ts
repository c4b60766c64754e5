import { afterEach, beforeEach, expect, test } from "bun:test";
import { createClient } from "../../src/client/client.ts";
import type { Show } from "../../src/cli/answer-show.ts";
import { openConversation } from "../../src/cli/conversation.ts";
import type { StubGateway, StubRequest } from "../support/stub-gateway.ts";
import { startStub, until } from "../support/stub-gateway.ts";

const SESSION = { session_id: "s1", title: "", epoch: "aaaaaaaa", head: 5, message_count: 0 };
const SHOW = new Proxy({}, { get: () => () => undefined }) as unknown as Show;

let stub: StubGateway;
beforeEach(() => {
  stub = startStub();
  stub.answers["session.get"] = ({ ok }) => ok(SESSION);
  stub.answers["session.subscribe"] = ({ ok, peer }: StubRequest) => {
    const snapshot = { session: SESSION, messages: [], runs: [], approvals: [], has_more: false };
    ok({ mode: "snapshot", epoch: "aaaaaaaa", from: 5, head: 5, snapshot });
    peer.event("session.synced", { session_id: "s1" }, { epoch: "aaaaaaaa", at: 5 });
  };
  stub.answers["chat.send"] = ({ ok }) => ok({ session_id: "s1", run_id: "run_1", status: "started" });
});
afterEach(() => stub.stop());

/** A run that no snapshot names any more: whether it has ended is asked for. */
async function asked(answers: ((request: StubRequest) => void)[]) {
  const client = createClient({ url: stub.url, random: () => 0, transport: "websocket" });
  await client.connect();
  const conversation = await openConversation(client, "s1");
  const said = { message: "hi", attachments: [] };
  const answer = conversation.ask(said, SHOW, new AbortController().signal);
  const waits = (): number =>
    stub.peers.flatMap(({ requests }) => requests).filter(({ method }) => method === "run.wait").length;
  stub.answers["run.wait"] = (request) => answers[Math.min(waits(), answers.length) - 1]?.(request);
  await until("it was sent", () => stub.peers[0]!.requests.some(({ method }) => method === "chat.send"));
  stub.peers[0]!.event("session.unsubscribed", { session_id: "s1" }, { session_id: "s1", reason: "epoch" });
  return answer.finally(() => client.disconnect());
}

const later =
  (code: string) =>
  ({ fail }: StubRequest): void =>
    fail({ code, message: "later", retryable: true, retry_after_ms: 1 });

test("how a run ended is asked again where the answer may come later", async () => {
  const { run } = await asked([
    later("RATE_LIMITED"),
    later("UNAVAILABLE"),
    later("TIMEOUT"),
    ({ ok }) => ok({ run_id: "run_1", status: "running" }),
    ({ ok }) => ok({ run_id: "run_1", status: "completed", finish_reason: "stop" }),
  ]);
  expect(run).toEqual({ run_id: "run_1", status: "completed", finish_reason: "stop" });
});

test("a refusal for good is the end of the asking", async () => {
  const refused = asked([
    ({ fail }) => fail({ code: "NOT_FOUND", message: "no such run", retryable: false }),
  ]);
  await expect(refused).rejects.toMatchObject({ code: "NOT_FOUND" });
});
