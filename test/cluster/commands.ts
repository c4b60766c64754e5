import type { Person } from "../gateway/stack.ts";
import { RefusedRequest } from "../support/ws-client.ts";

/** A message that somebody said through some node, and what they were told. */
export interface Said {
  readonly content: string;
  readonly session_id: string;
  /** "ok", or the code of the error; "lost": the connection ended first. */
  readonly outcome: string;
}

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
      await person.call("chat.send", params);
      return { content, session_id, outcome: "ok" };
    } catch (error) {
      if (error instanceof RefusedRequest && !error.retryable) throw error;
    }
    await Bun.sleep(Math.min(20 * 2 ** attempt, 500));
  }
}
