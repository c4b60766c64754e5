import { expectThat } from "./conformance-check.ts";
import type { Check } from "./conformance-check.ts";
import { logOf } from "./conformance-log.ts";
import type { StreamEvent } from "./conformance-world.ts";
import { readEvents } from "./conformance-world.ts";

/** How soon a stream has to say something. */
const OPENING_MS = 8_000;

const pathOf = (session_id: string): string => `/api/v1/sessions/${encodeURIComponent(session_id)}`;

/** Event streams: the same log, framed as the format wants it, at once. */
export const streamChecks: readonly Check[] = [
  {
    name: "sse.unbuffered",
    expects: `a stream begins within ${OPENING_MS / 1_000} s, and does not wait for its end`,
    async run(world) {
      const { session_id } = logOf(world);
      const began = performance.now();
      const response = await world.fetch(`${pathOf(session_id)}/events`, { patience_ms: OPENING_MS });
      const [opening] = await take(readEvents(response, OPENING_MS), 1);
      expectThat(opening !== undefined, "the stream ended without an event");
      return `${opening.event} after ${Math.round(performance.now() - began)} ms`;
    },
  },
  {
    name: "sse.framing",
    expects:
      "text/event-stream; session.resumed with the cursor as its id, each event with its id, type and the frame as a socket gets it, end",
    async run(world) {
      const { session_id, run_id, frames } = logOf(world);
      const [first] = frames;
      const after = `${first?.json.epoch}.${first?.json.seq - 1}`;
      const response = await world.fetch(`${pathOf(session_id)}/events?after=${after}&until=${run_id}`);
      const type = response.headers.get("content-type") ?? "";
      expectThat(
        response.status === 200 && type.startsWith("text/event-stream"),
        `${response.status} ${type}`,
      );
      const [opening, ...events] = await take(readEvents(response), Infinity);
      expectThat(
        opening?.event === "session.resumed" && opening.id === after,
        `it opens with ${show(opening)}`,
      );
      expectThat(events.at(-1)?.event === "end", `it ends with ${show(events.at(-1))}`);
      const durable = events.filter(({ event }) => event !== "end" && event !== "session.synced");
      frames.forEach(({ text, json }, n) => {
        const event = durable[n];
        expectThat(
          event?.id === `${json.epoch}.${json.seq}`,
          `where ${json.seq} is expected comes ${show(event)}`,
        );
        expectThat(event.event === json.event, `event ${json.seq} is called ${event.event}`);
        expectThat(
          event.data === text,
          `event ${json.seq} is another than the socket got: ${event.data.slice(0, 200)}`,
        );
      });
      expectThat(
        durable.length === frames.length,
        `${durable.length} events, where ${frames.length} are expected`,
      );
      return `${durable.length} events`;
    },
  },
  {
    name: "sse.last_event_id",
    expects: "Last-Event-ID goes on after that event; at the end of what was asked for it is 204",
    async run(world) {
      const { session_id, run_id, frames } = logOf(world);
      const at = frames.at(-3)?.json;
      const last = frames.at(-1)?.json;
      const path = `${pathOf(session_id)}/events?until=${run_id}`;
      const events = async (seq: number): Promise<Response> =>
        world.fetch(path, { headers: { "last-event-id": `${at.epoch}.${seq}` } });
      const seen = (await take(readEvents(await events(at.seq)), Infinity)).map(({ id }) => id);
      const ids = [at.seq, at.seq + 1, at.seq + 2].map((seq) => `${at.epoch}.${seq}`);
      expectThat(
        ids.every((id) => seen.includes(id)) && !seen.includes(`${at.epoch}.${at.seq - 1}`),
        seen.join(", "),
      );
      const { status } = await events(last.seq);
      expectThat(status === 204, `after the last event it answers ${status}`);
      return `${ids.slice(1).join(", ")}, then 204`;
    },
  },
  {
    name: "oneshot.stream",
    expects:
      "POST /api/v1/chat answers 201 with stream_url, whose events have ids, no names, and end with complete; read again they are the same",
    async run(world) {
      const session_id = await world.session();
      const body = JSON.stringify({ message: "Say yes.", session_id });
      const made = await world.fetch("/api/v1/chat", { method: "POST", body });
      const { stream_url, run_id } = (await made.json()) as { stream_url: string; run_id: string };
      expectThat(
        made.status === 201 && typeof stream_url === "string",
        `${made.status}, stream_url ${stream_url}`,
      );
      const read = async (): Promise<StreamEvent[]> =>
        take(readEvents(await world.fetch(stream_url), 100_000), Infinity);
      const [once, again] = [await read(), await read()];
      for (const each of once)
        expectThat(each.id !== null && each.event === null, `an event is ${show(each)}`);
      const types = once.map(({ data }) => (JSON.parse(data) as { type: string }).type);
      expectThat(types.at(-1) === "complete", `it is ${types.join(", ")}`);
      const text = (events: readonly StreamEvent[]): string =>
        events.map(({ data }) => contentOf(data)).join("");
      expectThat(text(once) === text(again), "read again it says something else");
      const id = once.at(-1)?.id ?? "";
      const past = await world.fetch(stream_url, { headers: { "last-event-id": id } });
      expectThat(past.status === 204, `past the end it answers ${past.status}`);
      return `${run_id}: ${types.length} events, ${text(once).length} characters, then 204`;
    },
  },
  {
    name: "oneshot.wait",
    expects: 'POST /api/v1/chat with "wait": true answers 200 with the complete message',
    async run(world) {
      const session_id = await world.session();
      const body = JSON.stringify({ message: "Say yes.", session_id, wait: true });
      const response = await world.fetch("/api/v1/chat", { method: "POST", body });
      const answer = (await response.json()) as { status?: string; role?: string; content?: string };
      expectThat(
        response.status === 200 && answer.status === "complete",
        `${response.status}, ${show(answer)}`,
      );
      return `${answer.role}: ${(answer.content ?? "").length} characters`;
    },
  },
];

async function take(events: AsyncGenerator<StreamEvent>, count: number): Promise<StreamEvent[]> {
  const taken: StreamEvent[] = [];
  for await (const event of events) {
    taken.push(event);
    if (taken.length >= count) break;
  }
  return taken;
}

function contentOf(data: string): string {
  const { type, content } = JSON.parse(data) as { type: string; content?: string };
  return type === "token" ? (content ?? "") : "";
}

function show(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 300) ?? "nothing";
}
