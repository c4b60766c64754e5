import { encodeSignal } from "../protocol/frames.ts";
import { userTopic } from "../protocol/events.ts";
import type { Connection, Connections } from "./connections.ts";
import type { Hub } from "./hub.ts";
import type { Clock } from "./ports.ts";
import type { Directory, SessionRef } from "./session.ts";
import { nameFor } from "./session.ts";
import type { Tail } from "./tail.ts";

const EVERY_MS = 1_000;
/** What falls due within this time is sent at once: then it is one write to each connection, not one for each session. */
const TOGETHER_MS = 50;

interface Pending {
  readonly session: SessionRef;
  readonly tail: Tail;
}

/**
 * session.changed: tells every connection of the users who may read a session that something happened in it, the latest
 * state, at most once a second and session. Those connections follow a topic of their user's: a thousand sessions that are
 * written at once are a thousand signals a second, however many read them.
 */
export class Changes {
  readonly #clock: Clock;
  readonly #connections: Connections;
  readonly #directory: Directory;
  readonly #hub: Hub;
  readonly #quiet = new Map<string, Pending | null>();
  /** Sessions to look at, by when (monotonic ms). */
  readonly #due = new Map<number, string[]>();
  readonly #topics = new Map<Connection, string>();

  constructor(clock: Clock, connections: Connections, directory: Directory, hub: Hub) {
    this.#clock = clock;
    this.#connections = connections;
    this.#directory = directory;
    this.#hub = hub;
  }

  /** It is known whose a connection is, or it is gone. */
  connection(connection: Connection, state: "joined" | "left"): void {
    const before = this.#topics.get(connection);
    const after = state === "joined" ? topicFor(connection) : undefined;
    if (before === after) return;
    if (before !== undefined) {
      this.#topics.delete(connection);
      this.#hub.unfollow(before);
      connection.unfollow(before);
    }
    if (after !== undefined) {
      this.#topics.set(connection, after);
      this.#hub.follow(after);
      connection.follow(after);
    }
  }

  /** Something was published in the session. */
  touch(session: SessionRef, tail: Tail): void {
    if (this.#connections.size === 0) return;
    // Sent once the block that publishes is over, so that the signal names the head after it.
    if (!this.#quiet.has(session.id)) this.#later(session.id, Math.floor(this.#clock.monotonic()));
    this.#quiet.set(session.id, { session, tail });
  }

  /** The session is deleted. `readers`: who could read it. */
  deleted(session: SessionRef, tail: Tail | undefined, readers: readonly string[]): void {
    this.#quiet.delete(session.id);
    if (tail !== undefined) this.#send(session, tail, readers, true);
  }

  #later(id: string, at: number): void {
    const known = this.#due.get(at);
    if (known !== undefined) return void known.push(id);
    const due = [id];
    this.#due.set(at, due);
    this.#clock.after(at - this.#clock.monotonic(), () => {
      this.#due.delete(at);
      for (const each of due) this.#tick(each);
    });
    return undefined;
  }

  #tick(id: string): void {
    const pending = this.#quiet.get(id);
    if (pending === undefined || pending === null) {
      this.#quiet.delete(id);
      return;
    }
    this.#quiet.set(id, null);
    this.#send(pending.session, pending.tail, this.#directory.readersOf(pending.session), false);
    const next = this.#clock.monotonic() + EVERY_MS;
    this.#later(id, Math.ceil(next / TOGETHER_MS) * TOGETHER_MS);
  }

  #send(session: SessionRef, tail: Tail, readers: readonly string[], deleted: boolean): void {
    const { row } = tail;
    for (const user of readers) {
      this.#hub.publish(userTopic(user), () => {
        const name = nameFor(session, user);
        const text = encodeSignal(
          "session.changed",
          this.#clock.now(),
          {
            session_id: name,
            epoch: row.epoch,
            head: row.head,
            title: row.title,
            updated_at: row.updated_at,
            ...(row.active_run_id !== null && { active_run_id: row.active_run_id }),
            approvals: tail.approvals.size,
            ...(deleted && { deleted: true }),
          },
          name,
        );
        return { text, type: "session.changed", epoch: null, seq: null };
      });
    }
  }
}

/** Where a connection is told what its user may read; undefined: it is not. */
function topicFor({ transport, principal }: Connection): string | undefined {
  if (transport !== "ws" || principal?.scopes.has("chat.read") !== true) return undefined;
  return userTopic(principal.user);
}
