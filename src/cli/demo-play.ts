import type { DemoGateway } from "./demo-gateway.ts";
import type { Guest } from "./demo-guest.ts";
import { ended, invite } from "./demo-guest.ts";
import type { RestCall } from "./demo-rest.ts";
import { callRest, curlLine, loggedEvents } from "./demo-rest.ts";
import type { Story } from "./demo.ts";
import { CommandError } from "./exit.ts";

const SESSION = "demo";
const FIRST = "Hello! Who are you, and what happens when my connection drops?";
const LONG = "/long 400";
/** Characters of the long answer after which the second guest loses its connection. */
const CUTS = [200, 700];

/** Everything between the start of the gateway and its end. @throws CommandError at the first thing that does not hold */
export async function playDemo(gateway: DemoGateway, story: Story): Promise<void> {
  const ada = await invite("Ada", gateway.url, gateway.token);
  const bob = await invite("Bob", gateway.url, gateway.token);
  try {
    await ada.client.request("session.create", { session_id: SESSION, title: "Demo" });
    for (const guest of [ada, bob]) guest.follow(SESSION);
    story.held(`Ada and Bob are connected and both follow the session "${SESSION}"`);
    await chat(ada, bob, story);
    await cutOff(ada, bob, story);
    await rest(gateway, ada, story);
    await compare(gateway, [ada, bob], story);
  } finally {
    for (const guest of [ada, bob]) guest.client.disconnect();
  }
}

async function chat(ada: Guest, bob: Guest, story: Story): Promise<void> {
  story.tell(`Ada: ${FIRST}`);
  story.stream("    ");
  let shown = 0;
  const run_id = await send(ada, FIRST);
  await bob.until("the answer", () => {
    const text = answerOf(bob, run_id);
    story.stream(text.slice(shown));
    shown = text.length;
    return ended(bob.transcript.runs.get(run_id));
  });
  story.streamed();
  await ada.until("the answer", () => ended(ada.transcript.runs.get(run_id)));
  const { text, pieces, sha256 } = proven(run_id, [ada, bob]);
  story.held(
    `both read the same ${text.length} characters in ${pieces} pieces, sha256 ${sha256.slice(0, 12)}…, as the log has it`,
  );
}

async function cutOff(ada: Guest, bob: Guest, story: Story): Promise<void> {
  story.tell(`Ada: ${LONG}`);
  const before = bob.returns;
  const run_id = await send(ada, LONG);
  for (const chars of CUTS) {
    await bob.until(`${chars} characters`, () => answerOf(bob, run_id).length >= chars);
    check(
      !ended(bob.transcript.runs.get(run_id)),
      "the answer was over before Bob's connection could be cut",
    );
    bob.cut();
    story.tell(`Bob's connection is cut after ${answerOf(bob, run_id).length} characters`);
    const returns = bob.returns;
    await bob.until("coming back", () => bob.returns > returns || answerOf(bob, run_id).length > chars * 2);
  }
  for (const guest of [ada, bob])
    await guest.until("the end", () => ended(guest.transcript.runs.get(run_id)));
  check(
    bob.returns - before === CUTS.length,
    `Bob's connection was lost ${bob.returns - before} times, not ${CUTS.length}`,
  );
  const { text, sha256 } = proven(run_id, [ada, bob]);
  story.held(
    `cut off ${CUTS.length} times in mid-sentence, Bob came back each time and has all ${text.length} characters, sha256 ${sha256.slice(0, 12)}…`,
  );
}

async function rest(gateway: DemoGateway, ada: Guest, story: Story): Promise<void> {
  const call = async (rest_call: RestCall, status: number): Promise<unknown> => {
    story.tell(`$ ${curlLine(gateway.url, rest_call)}`);
    const response = await callRest(gateway.url, gateway.token, rest_call, status);
    return response.headers.get("content-type")?.startsWith("application/json")
      ? response.json()
      : response.text();
  };
  const health = (await call({ method: "GET", path: "/health", open: true }, 200)) as { status: string };
  check(health.status === "healthy", `/health says ${health.status}`);
  const { sessions } = (await call({ method: "GET", path: "/api/v1/sessions" }, 200)) as {
    sessions: { session_id: string }[];
  };
  check(
    sessions.some(({ session_id }) => session_id === SESSION),
    "the session is missing in the list",
  );

  const body = { message: "The same conversation over REST." };
  const path = `/api/v1/sessions/${SESSION}/messages`;
  const sent = (await call({ method: "POST", path, body }, 202)) as {
    run_id: string;
    epoch: string;
    from: number;
  };
  const query = `after=${sent.epoch}.${sent.from}&until=${sent.run_id}`;
  const headers = { Accept: "text/event-stream" };
  const stream = (await call(
    { method: "GET", path: `/api/v1/sessions/${SESSION}/events?${query}`, headers },
    200,
  )) as string;
  await ada.until("the answer", () => ended(ada.transcript.runs.get(sent.run_id)));
  const streamed = loggedEvents(stream).map((data) => JSON.stringify(JSON.parse(data)));
  check(same(streamed, ada.events.slice(sent.from)), "the event stream is not what the socket got");

  const history = (await call({ method: "GET", path }, 200)) as {
    messages: { message_id: string; content: string }[];
  };
  const folded = [...ada.transcript.messages.values()].map(({ message_id, content }) => [
    message_id,
    content,
  ]);
  const stored = history.messages.map(({ message_id, content }) => [message_id, content]);
  check(JSON.stringify(stored) === JSON.stringify(folded), "the history is not what the socket got");
  const once = { message: "One question, one answer.", wait: true };
  const answer = (await call({ method: "POST", path: "/api/v1/chat", body: once }, 200)) as {
    status?: string;
  };
  check(answer.status === "complete", `the one-shot chat answered a message that is ${answer.status}`);
  story.held(
    `REST and its event stream tell the same story: ${streamed.length} events, ${stored.length} messages`,
  );
}

/** The whole log, read again by somebody new, against what the guests wrote down. */
async function compare(gateway: DemoGateway, guests: readonly Guest[], story: Story): Promise<void> {
  const clerk = await invite("Clerk", gateway.url, gateway.token);
  try {
    const { head } = await clerk.client.request("chat.history", { session_id: SESSION, limit: 1 });
    clerk.follow(SESSION);
    await clerk.until("the whole log", () => clerk.events.length >= head);
    for (const guest of guests) {
      await guest.until("the last event", () => guest.events.length >= head);
      check(same(guest.events, clerk.events), `${guest.name} has not got the log event by event`);
    }
    const order = clerk.events.map((event) => (JSON.parse(event) as { seq: number }).seq);
    check(
      order.every((seq, index) => seq === index + 1),
      "the log has a hole",
    );
    story.held(`the log has ${head} events; Ada and Bob each got every one of them, once, in order`);
  } finally {
    clerk.client.disconnect();
  }
}

async function send(guest: Guest, message: string): Promise<string> {
  const params = { session_id: SESSION, message, idempotency_key: crypto.randomUUID(), subscribe: false };
  return (await guest.client.request("chat.send", params)).run_id;
}

function answerOf(guest: Guest, run_id: string): string {
  const messages = [...guest.transcript.messages.values()];
  return messages.find((each) => each.run_id === run_id && each.role === "assistant")?.content ?? "";
}

/** The answer of a run, which all guests must have had in pieces that make exactly what the gateway signed. */
function proven(run_id: string, guests: readonly Guest[]): { text: string; sha256: string; pieces: number } {
  const proofs = guests.map((guest) => {
    check(guest.transcript.runs.get(run_id)?.status === "completed", `${guest.name} saw the run fail`);
    const message = [...guest.transcript.messages.values()].find(
      (each) => each.run_id === run_id && each.role === "assistant",
    );
    const proof = guest.finished.get(message?.message_id ?? "");
    if (proof === undefined) throw new CommandError(`${guest.name} has no finished answer`);
    const hash = new Bun.CryptoHasher("sha256").update(proof.text).digest("hex");
    check(hash === proof.sha256, `${guest.name} has another text than the gateway (sha256 differs)`);
    return proof;
  });
  const [first] = proofs;
  if (first === undefined) throw new CommandError("nobody was there");
  check(
    proofs.every(({ sha256 }) => sha256 === first.sha256),
    "the guests have different texts",
  );
  return first;
}

function same(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((each, index) => each === other[index]);
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new CommandError(otherwise);
}
