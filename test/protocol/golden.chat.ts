import type { Stage } from "./golden.sockets.ts";
import { connected } from "./golden.sockets.ts";

export async function chat({ record, model }: Stage): Promise<void> {
  const socket = await connected(record);
  record.note(
    "A message to a session that does not exist yet makes it. The sender follows the session from here on.",
  );
  await socket.ask("1", "chat.send", {
    session_id: "lunch",
    message: "Where shall we eat?",
    idempotency_key: "lunch-1",
  });
  const turn = await model.turn();
  turn.reason("They are hungry.");
  await socket.until("message.delta", "They are hungry.");
  for (const text of ["At the ", "harbour: ", "fish 🐟 ", "and a view."]) {
    turn.say(text);
    await socket.until("message.delta", text);
  }
  turn.finish();
  await socket.until("run.completed");
  record.note("The same request again, with its key: the same answer, and nothing else happens.");
  await socket.ask("2", "chat.send", {
    session_id: "lunch",
    message: "Where shall we eat?",
    idempotency_key: "lunch-1",
  });
  record.note("A message without a run.");
  await socket.ask("3", "chat.inject", {
    session_id: "lunch",
    role: "system",
    content: "Ada does not eat fish.",
  });
  await socket.until("message.created");
  record.note("What is written so far, and the session itself.");
  await socket.ask("4", "chat.history", { session_id: "lunch", limit: 10 });
  await socket.ask("5", "session.get", { session_id: "lunch" });
  record.note("A second message: one is written, one waits behind it, and both are stopped.");
  const sent = await socket.ask("6", "chat.send", { session_id: "lunch", message: "And without fish?" });
  const second = await model.turn();
  second.say("Then up the ");
  await socket.until("message.delta", "Then up the ");
  await socket.ask("7", "chat.send", { session_id: "lunch", message: "Anywhere?", on_busy: "queue" });
  await socket.until("run.queued");
  await socket.ask("8", "chat.abort", { session_id: "lunch" });
  await socket.ask("9", "run.get", { run_id: sent.run_id });
  record.note(
    "A model that breaks off is asked again, and what it said is discarded when it answers. It breaks off again: the run " +
      "fails, and what was said last stays.",
  );
  await socket.ask("10", "chat.send", { session_id: "lunch", message: "So?" });
  const third = await model.turn();
  third.say("Up the hill, ");
  await socket.until("message.delta", "Up the hill, ");
  third.break();
  const again = await model.turn();
  again.say("Down to the ");
  await socket.until("message.delta", "Down to the ");
  again.break();
  await socket.until("run.failed");
  record.note(
    "The model sums up what was said; from here on it is asked with that, and all of it can still be read.",
  );
  await socket.ask("11", "session.compact", { session_id: "lunch" });
  const fourth = await model.turn();
  fourth.say("They want to eat, and Ada no fish.");
  await socket.until("message.delta", "They want to eat, and Ada no fish.");
  fourth.finish();
  await socket.until("run.completed");
  await socket.ask("12", "session.delete", { session_id: "lunch" });
  await socket.until("session.unsubscribed");
}
