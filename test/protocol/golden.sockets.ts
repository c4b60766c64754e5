import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { GatedModel } from "./golden.model.ts";
import type { RecordedSocket, Recorder } from "./golden.recorder.ts";

/** What an exchange works with. */
export interface Stage {
  readonly record: Recorder;
  readonly model: GatedModel;
}

/** A socket that is somebody from its upgrade on. */
export function connected(record: Recorder): Promise<RecordedSocket> {
  return record.socket({ authorization: `Bearer ${record.gateway.token}` });
}

/** A second client, of which nothing is recorded. */
export function bystander(record: Recorder): Promise<TestSocket> {
  return openSocket(record.gateway.ws_url, { headers: { authorization: `Bearer ${record.gateway.token}` } });
}

export async function handshake({ record }: Stage): Promise<void> {
  record.note(
    "A client says who it is. Only the credential is needed; the rest is for other people to read.",
  );
  const socket = await record.socket();
  await socket.ask("h", "connect", {
    client_id: "client-123",
    client_name: "My App",
    version: "1.0.0",
    platform: "web",
    capabilities: ["chat", "sessions"],
    auth_token: record.gateway.token,
    protocol: { min: 1, max: 1 },
  });
  record.note("Requests without params may leave them out.");
  await socket.ask("1", "system.info");
  await socket.ask("2", "system.status");
  await socket.ask("3", "heartbeat");
  await socket.ask("4", "disconnect");
  await socket.closed();
  record.note("Authenticated at the upgrade, a client needs no connect.");
  const header = await connected(record);
  await header.ask("1", "session.list", { limit: 1 });
  await header.ask("2", "disconnect");
  await header.closed();
}

async function refusedEarly(record: Recorder): Promise<void> {
  record.note("Refused before anybody is known: the refusal first, then the close.");
  const early = await record.socket();
  early.send({ type: "req", id: "1", method: "system.status" });
  await early.answer("1");
  await early.closed();
  const noise = await record.socket();
  noise.send("GET / HTTP/1.1");
  await noise.answer(null);
  await noise.closed();
  const wrong = await record.socket();
  await wrong.ask("1", "connect", { auth_token: "not-the-token" });
  await wrong.closed();
  const future = await record.socket();
  await future.ask("1", "connect", { auth_token: record.gateway.token, protocol: { min: 2, max: 3 } });
  await future.closed();
}

export async function errors({ record, model }: Stage): Promise<void> {
  await refusedEarly(record);
  record.note("Refused later: the connection goes on.");
  const socket = await connected(record);
  socket.send("not JSON");
  await socket.answer(null);
  socket.send({ type: "req", id: 7, method: "system.info" });
  await socket.answer(null);
  await socket.ask("1", "chat.sned", { message: "Hello" });
  await socket.ask("2", "chat.send", { message: "Hello", sesion_id: "typo" });
  await socket.ask("3", "chat.send", { session_id: "a b", message: "Hello" });
  await socket.ask("4", "chat.send", { session_id: "ses_00000000000000000000000000", message: "Hello" });
  await socket.ask("5", "session.subscribe", { session_id: "nobody-has-this" });
  await socket.ask("6", "chat.send", { session_id: "big", message: "x".repeat(80) });
  record.note("A session made twice, and a seq without the epoch it belongs to.");
  await socket.ask("7", "session.create", { session_id: "once" });
  await socket.ask("8", "session.create", { session_id: "once" });
  await socket.ask("9", "session.subscribe", { session_id: "once", after: 1 });
  record.note("A key used for something else.");
  await socket.ask("10", "chat.inject", {
    session_id: "once",
    role: "user",
    content: "a",
    idempotency_key: "k",
  });
  await socket.ask("11", "chat.inject", {
    session_id: "once",
    role: "user",
    content: "b",
    idempotency_key: "k",
  });
  record.note("A session that is answering, and a sender who does not want to wait.");
  const { run_id } = await socket.ask("12", "chat.send", {
    session_id: "once",
    message: "Hello",
    subscribe: false,
  });
  await model.turn();
  await socket.ask("13", "chat.send", { session_id: "once", message: "Hello?", on_busy: "reject" });
  record.note("An id that is in flight, and more waiting requests than one connection may have.");
  socket.send({ type: "req", id: "14", method: "run.wait", params: { run_id } });
  await socket.ask("14", "heartbeat");
  await socket.ask("15", "run.wait", { run_id });
  await using other = await bystander(record);
  await other.request("chat.abort", { run_id });
  await socket.answer("14");
  record.note("A session its owner deleted.");
  await socket.ask("16", "session.delete", { session_id: "once" });
  await socket.ask("17", "chat.send", { session_id: "once", message: "Hello" });

  record.note("A token without the scope, and a connection that somebody ends: 4003 means do not come back.");
  const { token } = await socket.ask("18", "token.create", { name: "reader", user: "ada", role: "viewer" });
  const reader = await record.socket();
  const { server_info } = await reader.ask("1", "connect", { auth_token: token });
  await reader.ask("2", "chat.send", { message: "Hello" });
  await other.request("client.disconnect", { connection_id: server_info.connection_id, reason: "enough" });
  await reader.closed();
}

export async function resume({ record, model }: Stage): Promise<void> {
  record.note("A message, and an answer that begins.");
  let socket = await connected(record);
  const { epoch } = await socket.ask("1", "chat.send", {
    session_id: "trip",
    message: "Describe Lisbon in a few words.",
    idempotency_key: "trip-1",
  });
  const turn = await model.turn();
  turn.say("Lisbon ");
  await socket.until("message.delta", "Lisbon ");
  turn.say("is bright, ");
  const last = await socket.until("message.delta", "is bright, ");

  record.note("The connection is lost. The client has read up to this event; the answer goes on without it.");
  await using other = await bystander(record);
  await other.request("session.subscribe", { session_id: "trip", after: 0 });
  await socket.lose();
  for (const text of ["steep, ", "salty "]) {
    turn.say(text);
    await other.next(({ json }) => json.payload?.text === text);
  }

  record.note(
    "It comes back with the epoch and the seq it has. The gateway resumes: everything after that seq, once, in order; then session.synced; then live.",
  );
  socket = await connected(record);
  await socket.ask("2", "session.subscribe", { session_id: "trip", epoch, after: last.seq });
  await socket.until("session.synced");
  turn.say("and tiled.");
  await socket.until("message.delta", "and tiled.");
  turn.finish();
  await socket.until("run.completed");

  record.note("Somebody who has nothing is given a snapshot, and the events after it.");
  socket = await connected(record);
  await socket.ask("3", "session.subscribe", { session_id: "trip" });
  await socket.until("session.synced");
  record.note(
    "So is somebody who is far behind (here: more than limits.far_events = 8 events), unless it asks for the log. A subscription replaces the one before it.",
  );
  await socket.ask("4", "session.subscribe", { session_id: "trip", epoch, after: 1 });
  await socket.until("session.synced");
  await socket.ask("5", "session.subscribe", { session_id: "trip", epoch, after: 3, catch_up: "log" });
  await socket.until("session.synced");

  record.note(
    "Meanwhile the session is deleted and made again under its name: another log, so another epoch. A cursor of the old one gets a reset, and the client replaces all it has.",
  );
  await other.request("session.delete", { session_id: "trip" });
  await socket.until("session.unsubscribed");
  await other.request("session.create", { session_id: "trip", title: "A new trip" });
  await socket.ask("6", "session.subscribe", { session_id: "trip", epoch, after: last.seq });
  await socket.until("session.synced");
}

export async function restart({ record, model }: Stage): Promise<void> {
  record.note("An answer is being written.");
  let socket = await connected(record);
  const { epoch } = await socket.ask("1", "chat.send", { session_id: "storm", message: "Tell me a story." });
  const turn = await model.turn();
  turn.say("Once upon ");
  const last = await socket.until("message.delta", "Once upon ");
  record.note(
    "The gateway's process is killed, and started again. What a client has seen is there, under the same epoch; the run it left behind was ended before the port opened.",
  );
  const lost = socket.closed();
  record.gateway.kill("SIGKILL");
  await record.gateway.restart();
  await lost;
  socket = await connected(record);
  await socket.ask("2", "session.subscribe", { session_id: "storm", epoch, after: last.seq });
  await socket.until("session.synced");
}

export async function signals({ record }: Stage): Promise<void> {
  record.note("Signals have no seq. Those here come when they come; each is shown once.");
  const socket = await connected(record);
  await socket.ask("1", "session.create", { session_id: "room", title: "Room" });
  await socket.only("session.changed");
  await socket.ask("2", "session.subscribe", { session_id: "room", after: 0 });
  await socket.until("session.synced");
  await socket.only("heartbeat");
  record.note("Somebody else comes to the session.");
  const other = await bystander(record);
  await other.request("session.subscribe", { session_id: "room" });
  await socket.only("presence.updated", '"session_id":"room"');
  await other.request("disconnect");
  record.note("Events of your own: to everybody, to the followers of a session, and into its log.");
  socket.send({
    type: "req",
    id: "3",
    method: "event.broadcast",
    params: { event: "notification", payload: { text: "hi" } },
  });
  await socket.only("notification");
  await socket.answer("3");
  socket.send({
    type: "req",
    id: "4",
    method: "event.send",
    params: { session_id: "room", event: "app.typing", payload: { on: true } },
  });
  await socket.only("app.typing");
  await socket.answer("4");
  await socket.ask("5", "event.send", {
    session_id: "room",
    event: "app.vote",
    payload: { for: "pizza" },
    durable: true,
  });
  await socket.only("app.vote");
  record.note("The gateway stops.");
  record.gateway.kill("SIGTERM");
  await socket.only("shutdown");
  await socket.closed();
}
