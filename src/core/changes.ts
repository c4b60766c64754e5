import { encodeSignal } from "../protocol/frames.ts";
import { userTopic } from "../protocol/events.ts";
import type { Connection, Connections } from "./connections.ts";
import type { Hub } from "./hub.ts";
import type { SessionRow } from "./operation.ts";
import type { OtherNodes } from "./other-nodes.ts";
import type { Clock } from "./ports.ts";
import type { Directory, SessionRef } from "./session.ts";
import { nameFor } from "./session.ts";

const EVERY_MS = 1_000;
/** What falls due within this time is sent at once: then it is one write to each connection, not one for each session. */
const TOGETHER_MS = 50;

/** Sessions that were deleted lately: nothing is told of them after their end. */
const DELETED = 10_000;

/** What is told of a session: a tail has it. */
export interface Changed {
  readonly row: Pick<SessionRow, "epoch" | "head" | "title" | "updated_at" | "active_run_id">;
  /** Those nobody answered. */
  readonly approvals: { readonly size: number };
}

interface Quiet {
  readonly session: SessionRef;
  /** What happened since it was last told; null: nothing. */
  changed: Changed | null;
  /** How far what was last told goes. */
  told: string;
}

interface Deleted {
  readonly session: SessionRef;
  readonly row: Changed["row"];
  readonly readers: readonly string[];
}

export interface ChangesOptions {
  readonly clock: Clock;
  readonly connections: Connections;
  readonly directory: Directory;
  readonly hub: Hub;
  readonly nodes: OtherNodes;
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
  readonly #nodes: OtherNodes;
  readonly #deleted = new Set<string>();
  readonly #quiet = new Map<string, Quiet>();
  /** Sessions to look at, by when (monotonic ms). */
  readonly #due = new Map<number, string[]>();
  readonly #topics = new Map<Connection, string>();

  constructor({ clock, connections, directory, hub, nodes }: ChangesOptions) {
    this.#clock = clock;
    this.#connections = connections;
    this.#directory = directory;
    this.#hub = hub;
    this.#nodes = nodes;
    nodes.on<Deleted>("deleted", ({ session, row, readers }) =>
      this.deleted(session, { row, approvals: { size: 0 } }, readers),
    );
  }

  /** Users of whom somebody here is told. */
  users(): Set<string> {
    const users = new Set<string>();
    for (const { principal } of this.#topics.keys()) if (principal !== null) users.add(principal.user);
    return users;
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

  /** Something was published in the session, at whichever node. */
  touch(session: SessionRef, changed: Changed): void {
    if (this.#connections.size === 0 || this.#deleted.has(session.id)) return;
    // Sent once the block that publishes is over, so that the signal names the head after it.
    const quiet = this.#quiet.get(session.id);
    if (quiet === undefined) this.#later(session.id, Math.floor(this.#clock.monotonic()));
    this.#quiet.set(session.id, { session, changed, told: quiet?.told ?? "" });
  }

  /** The session is deleted, and here is told of it, once. `readers`: who could read it. */
  deleted(session: SessionRef, changed: Changed | undefined, readers: readonly string[]): void {
    this.#quiet.delete(session.id);
    if (changed === undefined || this.#deleted.has(session.id)) return;
    this.#deleted.add(session.id);
    const [oldest] = this.#deleted;
    if (this.#deleted.size > DELETED && oldest !== undefined) this.#deleted.delete(oldest);
    this.#send(session, changed, readers, true);
  }

  /** As deleted, at every node. */
  deletedEverywhere(session: SessionRef, changed: Changed | undefined, readers: readonly string[]): void {
    this.deleted(session, changed, readers);
    if (changed === undefined) return;
    const { epoch, head, title, updated_at } = changed.row;
    const row: Changed["row"] = { epoch, head, title, updated_at, active_run_id: null };
    this.#nodes.tell("deleted", { session, row, readers } satisfies Deleted);
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
    const quiet = this.#quiet.get(id);
    const changed = quiet?.changed ?? null;
    if (quiet === undefined || changed === null || cursorOf(changed) === quiet.told) {
      this.#quiet.delete(id);
      return;
    }
    quiet.changed = null;
    quiet.told = cursorOf(changed);
    this.#send(quiet.session, changed, this.#directory.readersOf(quiet.session), false);
    const next = this.#clock.monotonic() + EVERY_MS;
    this.#later(id, Math.ceil(next / TOGETHER_MS) * TOGETHER_MS);
  }

  #send(
    session: SessionRef,
    { row, approvals }: Changed,
    readers: readonly string[],
    deleted: boolean,
  ): void {
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
            approvals: approvals.size,
            ...(deleted && { deleted: true }),
          },
          name,
        );
        return { text, type: "session.changed", epoch: null, seq: null };
      });
    }
  }
}

function cursorOf({ row }: Changed): string {
  return `${row.epoch}.${row.head}`;
}

/** Where a connection is told what its user may read; undefined: it is not. */
function topicFor({ transport, principal }: Connection): string | undefined {
  if (transport !== "ws" || principal?.scopes.has("chat.read") !== true) return undefined;
  return userTopic(principal.user);
}
