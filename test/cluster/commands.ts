import type { Person } from "../gateway/stack.ts";
import { RefusedRequest } from "../support/ws-client.ts";

/** A message that somebody said through some node, and what they were told. */
export interface Said {
  readonly content: string;
  readonly session_id: string;
  /** "ok", or the code of the error; "lost": the connection ended first. */
  readonly outcome: string;
}

/** So long somebody waits for an answer before it is asked for again. */
const ANSWER_MS = 15_000;

/** Says it once. Never rejects. */
export async function sayOnce(person: Person, session_id: string, content: string): Promise<Said> {
  const outcome = await person.call("chat.send", { session_id, message: content, on_busy: "queue" }).then(
    () => "ok",
    (error: unknown) => (error instanceof RefusedRequest ? error.code : "lost"),
  );
  return { content, session_id, outcome };
}

/** Says it with a key, through one after the other, until it is answered. */
export async function sayUntilAnswered(
  people: readonly Person[],
  session_id: string,
  content: string,
): Promise<Said> {
  const params = { session_id, message: content, on_busy: "queue", idempotency_key: `key of ${content}` };
  for (let attempt = 0; ; attempt++) {
    const person = people[attempt % people.length] as Person;
    try {
      // A node that sleeps answers nobody.
      const answered = await Promise.race([
        person.call("chat.send", params).then(() => true),
        Bun.sleep(ANSWER_MS).then(() => false),
      ]);
      if (answered) return { content, session_id, outcome: "ok" };
    } catch (error) {
      // Where as many wait as may, some are answered soon.
      const waits =
        error instanceof RefusedRequest && (error.retryable || error.details?.["kind"] === "full");
      if (error instanceof RefusedRequest && !waits) throw error;
    }
    await Bun.sleep(Math.min(20 * 2 ** attempt, 500));
  }
}

/** Says it until its run has completed, a few times at the most; how the last one ended. */
export async function talk(person: Person, session_id: string, message: string): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    const idempotency_key = `${session_id}: ${message}, ${attempt}`;
    const sent = await untilDone(() => person.call("chat.send", { session_id, message, idempotency_key }));
    const status = await statusOf(person, sent.run_id);
    if (status === "completed" || attempt === 5) return status;
  }
}

async function statusOf(person: Person, run_id: string): Promise<string> {
  for (;;) {
    const run = await untilDone(() => person.call("run.wait", { run_id, timeout_ms: 15_000 }));
    if (run.status !== "queued" && run.status !== "running") return run.status;
  }
}

/** A machine that is busy may lose its lease for a moment: then it is asked again. */
export async function untilDone<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof RefusedRequest && !error.retryable) throw error;
      await Bun.sleep(100);
    }
  }
}
