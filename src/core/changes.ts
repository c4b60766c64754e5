import { encodeSignal } from "../protocol/frames.ts";
import type { Connections } from "./connections.ts";
import type { Clock } from "./ports.ts";
import type { Directory, SessionRef } from "./session.ts";
import { nameFor } from "./session.ts";
import type { Tail } from "./tail.ts";

const EVERY_MS = 1_000;

interface Pending {
  readonly session: SessionRef;
  readonly tail: Tail;
}

/**
 * session.changed: tells every connection of the users who may read a session that something happened in it, the latest
 * state, at most once a second and session.
 */
export class Changes {
  readonly #clock: Clock;
  readonly #connections: Connections;
  readonly #directory: Directory;
  readonly #quiet = new Map<string, Pending | null>();

  constructor(clock: Clock, connections: Connections, directory: Directory) {
    this.#clock = clock;
    this.#connections = connections;
    this.#directory = directory;
  }

  /** Something was published in the session. */
  touch(session: SessionRef, tail: Tail): void {
    if (this.#connections.size === 0) return;
    if (this.#quiet.has(session.id)) {
      this.#quiet.set(session.id, { session, tail });
      return;
    }
    // Sent once the block that publishes is over, so that the signal names the head after it.
    this.#quiet.set(session.id, { session, tail });
    this.#clock.after(0, () => this.#tick(session.id));
  }

  /** The session is deleted. `readers`: who could read it. */
  deleted(session: SessionRef, tail: Tail | undefined, readers: readonly string[]): void {
    this.#quiet.delete(session.id);
    if (tail !== undefined) this.#send(session, tail, readers, true);
  }

  #tick(id: string): void {
    const pending = this.#quiet.get(id);
    if (pending === undefined || pending === null) {
      this.#quiet.delete(id);
      return;
    }
    this.#quiet.set(id, null);
    this.#send(pending.session, pending.tail, this.#directory.readersOf(pending.session), false);
    this.#clock.after(EVERY_MS, () => this.#tick(id));
  }

  #send(session: SessionRef, tail: Tail, readers: readonly string[], deleted: boolean): void {
    const { row } = tail;
    for (const user of readers) {
      const name = nameFor(session, user);
      let text: string | null = null;
      for (const connection of this.#connections.ofUser(user)) {
        if (connection.state !== "connected" || connection.principal?.scopes.has("chat.read") !== true)
          continue;
        if (connection.transport !== "ws") continue;
        text ??= encodeSignal(
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
        connection.send({ text, type: "session.changed", epoch: null, seq: null });
      }
    }
  }
}
