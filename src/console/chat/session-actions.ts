import type { Client } from "../../client/client.ts";
import { go, sessionPath } from "../route.ts";
import type { Sessions } from "../session-list.ts";

/** A session of one's own that goes on from a message of another, and leads there. */
export async function fork(
  client: Client,
  sessions: Sessions,
  session_id: string,
  message_id?: string,
): Promise<void> {
  const idempotency_key = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const made = await client.request("session.fork", {
    session_id,
    idempotency_key,
    ...(message_id !== undefined && { message_id }),
  });
  sessions.put(made);
  go(sessionPath(made.session_id));
}

export async function rename(client: Client, session_id: string, title: string): Promise<void> {
  await client.request("session.update", { session_id, title });
}

/** The model finds the name. */
export async function nameByModel(client: Client, session_id: string): Promise<void> {
  await client.request("session.title", { session_id });
}

export async function erase(client: Client, sessions: Sessions, session_id: string): Promise<void> {
  await client.request("session.delete", { session_id });
  sessions.remove(session_id);
  go("#/");
}
