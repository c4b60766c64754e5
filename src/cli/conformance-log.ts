import { expectThat, Skipped } from "./conformance-check.ts";
import type { Check } from "./conformance-check.ts";
import type { Frame, Json, Peer, World } from "./conformance-world.ts";

const QUESTION = "Write the numbers from 1 to 60, with a space after each.";
const END = /^run\.(completed|failed|aborted|interrupted)$/;
const TURN = ["message.created", "run.queued", "run.started", "message.started", "message.completed"];

const typesOf = (frames: readonly Frame[]): string[] => frames.map(({ json }) => json.event as string);

/** The log of a session: in order, once, and the same for whoever reads it, whenever. */
export const logChecks: readonly Check[] = [
  {
    name: "order.answer_first",
    expects:
      "the answer to chat.send is the first frame about it, then its events: seq + 1 each, one epoch, one end",
    async run(world) {
      const session_id = await world.session();
      const before = world.peer.frames.length;
      const sent = await world.peer.request("chat.send", { session_id, message: QUESTION });
      const frames = await untilEnd(world.peer, session_id, sent.run_id);
      const first = world.peer.frames
        .slice(before)
        .find(
          ({ json }) => json?.type === "res" || (json?.session_id === session_id && json.seq !== undefined),
        );
      expectThat(first?.json.type === "res", `first came ${first?.text.slice(0, 200)}`);
      expectThat(sent.subscribed === true, `subscribed is ${sent.subscribed}`);
      requireOrder(frames, sent.epoch, sent.seq);
      const ends = typesOf(frames).filter((type) => END.test(type));
      expectThat(ends.length === 1, `the run ended ${ends.length} times: ${ends.join(", ")}`);
      world.log = { session_id, run_id: sent.run_id, frames };
      return `seq ${sent.seq} to ${frames.at(-1)?.json.seq}, the last is ${ends[0]}`;
    },
  },
  {
    name: "order.turn",
    expects: `${TURN.join(", ")} and the run's end, in this order; deltas only between the third and the last of them`,
    async run(world) {
      const { frames } = logOf(world);
      const types = typesOf(frames);
      const places = TURN.map((type) => types.indexOf(type));
      const inOrder = places.every((place, n) => place >= 0 && place > (places[n - 1] ?? -1));
      expectThat(inOrder, types.filter((type, n) => type !== types[n - 1]).join(", "));
      const [begun = 0, done = 0] = places.slice(3);
      const deltas = types.flatMap((type, n) => (type === "message.delta" ? [n] : []));
      expectThat(
        deltas.every((n) => n > begun && n < done),
        "a delta came before or after its message",
      );
      return `${deltas.length} deltas`;
    },
  },
  {
    name: "order.text",
    expects:
      "each delta begins where its part has come to; together they are the message, its length and its sha256",
    async run(world) {
      const { frames } = logOf(world);
      const parts = new Map<number, string>();
      for (const { json } of frames) {
        if (json.event !== "message.delta" || json.payload.kind !== "text") continue;
        const { part, off, text } = json.payload;
        const said = parts.get(part) ?? "";
        expectThat(
          off === said.length,
          `a delta begins at ${off}, where ${said.length} is expected (seq ${json.seq})`,
        );
        parts.set(part, said + text);
      }
      const text = [...parts]
        .toSorted(([a], [b]) => a - b)
        .map(([, said]) => said)
        .join("");
      const { message, length, sha256, content_omitted } = find(frames, "message.completed").payload;
      if (content_omitted !== true)
        expectThat(
          message.content === text,
          `the message says ${JSON.stringify(message.content).slice(0, 200)}`,
        );
      expectThat(length === text.length, `length is ${length}, not ${text.length}`);
      const hash = new Bun.CryptoHasher("sha256").update(text).digest("hex");
      expectThat(sha256 === hash, `sha256 is ${sha256}, not ${hash}`);
      return `${length} characters, sha256 ${hash.slice(0, 12)}…`;
    },
  },
  {
    name: "resume.replay",
    expects: "somebody who reads the log from its beginning gets the same events, byte for byte",
    async run(world) {
      const { session_id, frames } = logOf(world);
      const peer = await world.connect();
      const opening = await peer.request("session.subscribe", { session_id, after: 0, catch_up: "log" });
      expectThat(opening.mode === "resume" && opening.from === 0, JSON.stringify(opening).slice(0, 200));
      await synced(peer, session_id);
      const read = peer.events(session_id);
      requireOrder(read, opening.epoch, 1);
      const same = read.slice(-frames.length);
      const other = frames.findIndex(({ text }, n) => text !== same[n]?.text);
      expectThat(
        other < 0,
        `event ${frames[other]?.json.seq} is another one: ${same[other]?.text.slice(0, 200)}`,
      );
      return `${read.length} events`;
    },
  },
  {
    name: "resume.cursor",
    expects: "from a cursor in the middle: mode resume, the events after it, then session.synced",
    async run(world) {
      const { session_id, frames } = logOf(world);
      const at = frames[Math.floor(frames.length / 2)]?.json;
      const peer = await world.connect();
      const opening = await peer.request("session.subscribe", { session_id, epoch: at.epoch, after: at.seq });
      expectThat(opening.mode === "resume" && opening.from === at.seq, JSON.stringify(opening).slice(0, 200));
      await synced(peer, session_id);
      const read = peer.events(session_id);
      const rest = frames.filter(({ json }) => json.seq > at.seq);
      const same = read.length === rest.length && read.every(({ text }, n) => text === rest[n]?.text);
      expectThat(same, `${read.length} events after ${at.seq}, where ${rest.length} are expected`);
      return `${read.length} events after ${at.seq}`;
    },
  },
  {
    name: "resume.snapshot",
    expects: "without a cursor: mode snapshot, with the messages as they are, from = head",
    async run(world) {
      const { session_id, frames } = logOf(world);
      const peer = await world.connect();
      const { mode, from, head, snapshot } = await peer.request("session.subscribe", { session_id });
      expectThat(mode === "snapshot" && from === head, `mode ${mode}, from ${from}, head ${head}`);
      const { message } = find(frames, "message.completed").payload;
      const found = snapshot?.messages?.find((each: Json) => each.message_id === message.message_id);
      expectThat(
        found?.content === message.content,
        `the message is ${JSON.stringify(found)?.slice(0, 200)}`,
      );
      return `${snapshot.messages.length} messages at ${head}`;
    },
  },
  {
    name: "resume.reset",
    expects: "a cursor of another epoch, or beyond the head: mode reset, with a reason and a snapshot",
    async run(world) {
      const { session_id, frames } = logOf(world);
      const { epoch } = frames[0]?.json ?? {};
      const reasons = [];
      for (const cursor of [
        { epoch: "zzzzzzz0", after: 1 },
        { epoch, after: 1_000_000_000 },
      ]) {
        const peer = await world.connect();
        const { mode, reason, snapshot } = await peer.request("session.subscribe", { session_id, ...cursor });
        expectThat(mode === "reset" && typeof reason === "string", `mode ${mode}, reason ${reason}`);
        expectThat(Array.isArray(snapshot?.messages), "there is no snapshot");
        reasons.push(reason);
      }
      return `reasons ${reasons.join(" and ")}`;
    },
  },
  {
    name: "resume.cut",
    expects: "a connection that is lost in the middle of an answer misses nothing and gets nothing twice",
    async run(world) {
      const session_id = await world.session();
      const first = await world.connect();
      const { run_id, epoch, from } = await first.request("chat.send", { session_id, message: QUESTION });
      await first.until("the beginning of an answer", ({ json }) => json?.event === "message.started");
      first.cut();
      const last = first.events(session_id).at(-1)?.json.seq ?? from;
      const second = await world.connect();
      const opening = await second.request("session.subscribe", {
        session_id,
        epoch,
        after: last,
        catch_up: "log",
      });
      expectThat(opening.mode === "resume", `mode ${opening.mode}`);
      await untilEnd(second, session_id, run_id);
      requireOrder([...first.events(session_id), ...second.events(session_id)], epoch, from + 1);
      return `cut after ${last}, ${second.events(session_id).length} events later`;
    },
  },
  {
    name: "idempotency.same",
    expects: "the same chat.send with the same key is done once, and answered with the same ids and seq",
    async run(world) {
      const session_id = await world.session();
      const params = { session_id, message: "Say yes.", idempotency_key: crypto.randomUUID() };
      const one = await world.peer.request("chat.send", params);
      const two = await world.peer.request("chat.send", params);
      for (const field of ["message_id", "run_id", "epoch", "seq"])
        expectThat(one[field] === two[field], `${field} is ${one[field]}, then ${two[field]}`);
      await untilEnd(world.peer, session_id, one.run_id);
      const { messages } = await world.peer.request("chat.history", { session_id });
      const asked = messages.filter(({ role }: Json) => role === "user").length;
      expectThat(asked === 1, `there are ${asked} messages`);
      return `${one.run_id} twice, one message`;
    },
  },
  {
    name: "idempotency.other",
    expects: "the same key with another request is IDEMPOTENCY_MISMATCH (4022)",
    async run(world) {
      const session_id = await world.session();
      const key = { session_id, role: "user", idempotency_key: crypto.randomUUID() };
      await world.peer.request("chat.inject", { ...key, content: "one" });
      const { code, status } = await world.peer.refusal("chat.inject", { ...key, content: "two" });
      expectThat(code === "IDEMPOTENCY_MISMATCH" && status === 4022, `${code} (${status})`);
      return `${code} (${status})`;
    },
  },
];

/** The events of the session up to the run's end. */
async function untilEnd(peer: Peer, session_id: string, run_id: string): Promise<Frame[]> {
  const ended = ({ json }: Frame): boolean => json?.run_id === run_id && END.test(json.event);
  await peer.waitFor("the end of the run", () => peer.events(session_id).some(ended), 100_000);
  const frames = peer.events(session_id);
  return frames.slice(0, frames.findIndex(ended) + 1);
}

async function synced(peer: Peer, session_id: string): Promise<void> {
  await peer.until(
    "session.synced",
    ({ json }) => json?.event === "session.synced" && json.session_id === session_id,
  );
}

function requireOrder(frames: readonly Frame[], epoch: string, first: number): void {
  frames.forEach(({ json }, n) => {
    expectThat(json.epoch === epoch, `event ${json.seq} has the epoch ${json.epoch}, not ${epoch}`);
    const expected = first + n;
    expectThat(json.seq === expected, `seq ${json.seq} (${json.event}) where ${expected} is expected`);
  });
}

export function logOf({ log }: World): NonNullable<World["log"]> {
  if (log === null) throw new Skipped("order.answer_first has no log to look at");
  return log;
}

function find(frames: readonly Frame[], type: string): Json {
  const found = frames.find(({ json }) => json.event === type)?.json;
  expectThat(found !== undefined, `there is no ${type}`);
  return found;
}
