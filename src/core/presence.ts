import { encodeSignal } from "../protocol/frames.ts";
import type { Connection, Connections } from "./connections.ts";
import type { Hub } from "./hub.ts";
import type { Clock } from "./ports.ts";
import type { SessionRef } from "./session.ts";
import { nameFor, nameOf, namingsOf, topicOf } from "./session.ts";

/** Signals a second, for one session and for those who manage clients: a storm of reconnects must not become one of presence. */
const PER_SECOND = 20;

/** presence.updated: to the watchers of the same session and to holders of clients.manage. presence.list has the truth. */
export class Presence {
  readonly #clock: Clock;
  readonly #connections: Connections;
  readonly #hub: Hub;
  #second = 0;
  readonly #sent = new Map<string, number>();

  constructor(clock: Clock, connections: Connections, hub: Hub) {
    this.#clock = clock;
    this.#connections = connections;
    this.#hub = hub;
  }

  /** A connection began or ended: told to those who manage clients. */
  connection(connection: Connection, state: "joined" | "left"): void {
    if (connection.principal === null || !this.#allowed("")) return;
    const text = encodeSignal("presence.updated", this.#clock.now(), payload(connection, state));
    const others = (each: Connection): boolean => each !== connection && each.transport === "ws";
    this.#connections.signal(text, "presence.updated", "clients.manage", others);
  }

  /** A connection began or ended to follow a session. */
  watcher(connection: Connection, session: SessionRef, state: "joined" | "left"): void {
    if (connection.principal === null || connection.transport === "local") return;
    if (!this.#allowed(session.id)) return;
    const now = this.#clock.now();
    for (const naming of namingsOf(session)) {
      const name = nameOf(session, naming);
      this.#hub.publish(topicOf(session, naming), () => {
        const text = encodeSignal(
          "presence.updated",
          now,
          { ...payload(connection, state), session_id: name },
          name,
        );
        return { text, type: "presence.updated", epoch: null, seq: null };
      });
    }
    if (!this.#allowed("")) return;
    for (const each of this.#connections.all()) {
      if (each.state !== "connected" || each.transport !== "ws" || each === connection) continue;
      if (each.principal?.scopes.has("clients.manage") !== true || each.subscriptions.has(session.id))
        continue;
      const name = nameFor(session, each.principal.user);
      const text = encodeSignal(
        "presence.updated",
        now,
        { ...payload(connection, state), session_id: name },
        name,
      );
      each.send({ text, type: "presence.updated", epoch: null, seq: null });
    }
  }

  #allowed(key: string): boolean {
    const second = Math.floor(this.#clock.monotonic() / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#sent.clear();
    }
    const sent = this.#sent.get(key) ?? 0;
    if (sent >= PER_SECOND) return false;
    this.#sent.set(key, sent + 1);
    return true;
  }
}

function payload(connection: Connection, state: "joined" | "left") {
  return {
    connection_id: connection.id,
    client_id: connection.client_id,
    client_name: connection.client_name,
    user: connection.principal?.user ?? "",
    state,
  };
}
