import type { Recorder } from "./golden.recorder.ts";
import type { Stage } from "./golden.sockets.ts";
import { bystander } from "./golden.sockets.ts";

/** Resolves when everybody is shown that event of the session. */
async function reached(record: Recorder, session_id: string, seq: number): Promise<void> {
  await using socket = await bystander(record);
  await socket.request("session.subscribe", { session_id, after: 0 });
  await socket.next(({ json }) => json.seq === seq);
}

export async function sse({ record, model }: Stage): Promise<void> {
  record.note("A message over REST, and its run followed as an event stream to the end.");
  const path = "/api/v1/sessions/tea";
  const sent = await record.http("POST", `${path}/messages`, { message: "How long does tea take?" });
  const turn = await model.turn();
  await reached(record, "tea", 4);
  const query = `?after=${sent.epoch}.${sent.from}&until=${sent.run_id}`;
  const first = await record.stream("GET", `${path}/events${query}`);
  turn.say("Three ");
  const seen = await first.until('"Three "');
  record.note(
    "The connection is lost and the client comes back with the last id it read: an EventSource does so by itself.",
  );
  await first.leave();
  const id = /^id: (.*)$/m.exec(seen)?.[1] ?? "";
  const second = await record.stream("GET", `${path}/events${query}`, undefined, { "last-event-id": id });
  turn.say("minutes.");
  await second.until('"minutes."');
  turn.finish();
  const end = await second.until("event: run.completed");
  await second.rest();
  record.note("Coming back once more, with nothing left to read.");
  const over = { "last-event-id": /^id: (.*)$/m.exec(end)?.[1] ?? "" };
  await record.http("GET", `${path}/events${query}`, undefined, over);
  record.note("Without a cursor the stream opens with a snapshot, whose id is the head it is made at.");
  const third = await record.stream("GET", `${path}/events`);
  await third.until("event: session.synced");
  await third.leave();
  record.note("A cursor of another log: reset.");
  const fourth = await record.stream("GET", `${path}/events?after=zzzzzzzz.5`);
  await fourth.until("event: session.synced");
  await fourth.leave();
  record.note("What is refused is an answer as any other.");
  await record.http("GET", "/api/v1/sessions/nobody-has-this/events");
  await record.http("GET", `${path}/events?after=5`);
}

export async function oneshot({ record, model }: Stage): Promise<void> {
  record.note("A chat in two requests: the message, and the stream of its answer.");
  const started = await record.http("POST", "/api/v1/chat", { message: "Name a river." });
  const turn = await model.turn();
  const stream = await record.stream("GET", started.stream_url);
  turn.say("The ");
  await stream.until('"The "');
  turn.say("Douro.");
  await stream.until('"Douro."');
  turn.finish();
  const end = await stream.until('"complete"');
  await stream.rest();
  record.note("Late, or a second time: the same again, from its beginning.");
  const again = await record.stream("GET", started.stream_url);
  await again.rest();
  record.note("A reconnect past the end.");
  const last = { "last-event-id": /^id: (.*)$/m.exec(end)?.[1] ?? "" };
  await record.http("GET", started.stream_url, undefined, last);
  record.note("The history, and stopping what is not running.");
  await record.http("GET", `/api/v1/history/${started.session_id}`);
  await record.http("POST", `/api/v1/stop/${started.session_id}`);

  record.note("In one request, as a stream.");
  const opening = record.stream("POST", "/api/v1/chat", { session_id: "rivers", message: "Another?" });
  const second = await model.turn();
  second.say("The Tejo.");
  const direct = await opening;
  await direct.until('"The Tejo."');
  second.finish();
  await direct.rest();
  record.note("In one request, as a whole.");
  const waiting = record.http("POST", "/api/v1/chat", {
    session_id: "rivers",
    message: "And one more?",
    wait: true,
  });
  const third = await model.turn();
  third.say("The Minho.");
  third.finish();
  await waiting;
  record.note("A model that breaks off, answers again, and breaks off for good.");
  const failing = await record.http("POST", "/api/v1/chat", { session_id: "rivers", message: "The last?" });
  const fourth = await model.turn();
  const failed = await record.stream("GET", failing.stream_url);
  fourth.say("The ");
  await failed.until('"The "');
  fourth.break();
  const fifth = await model.turn();
  fifth.say("The Lima ");
  await failed.until('"The Lima "');
  fifth.break();
  await failed.rest();
}

export async function rest({ record }: Stage): Promise<void> {
  record.note("A session over REST.");
  await record.http("POST", "/api/v1/sessions", {
    session_id: "notes",
    title: "Notes",
    metadata: { colour: "red" },
  });
  await record.http("PATCH", "/api/v1/sessions/notes", { title: "My notes", archived: true });
  await record.http("GET", "/api/v1/sessions/notes");
  await record.http("GET", "/api/v1/sessions?limit=10&archived=true");
  record.note("Any method, with its params as the body. Idempotency-Key is idempotency_key by another name.");
  await record.http(
    "POST",
    "/api/v1/rpc/chat.inject",
    { session_id: "notes", role: "user", content: "Buy milk." },
    { "idempotency-key": "milk" },
  );
  await record.http("GET", "/api/v1/sessions/notes/messages?limit=1");
  await record.http("GET", "/api/v1/models");
  await record.http("POST", "/api/v1/tickets");
  record.note("Errors have the same body as on a socket.");
  await record.http("POST", "/api/v1/sessions", { session_id: "notes" });
  await record.http("POST", "/api/v1/sessions/notes/messages", { text: "Hello" });
  await record.http("GET", "/api/v1/sessions/nobody-has-this");
  await record.http("GET", "/api/v1/stats", undefined, { authorization: "Bearer wrong" });
  await record.http("DELETE", "/api/v1/sessions/notes");
  await record.http("GET", "/api/v1/sessions/notes");
}
