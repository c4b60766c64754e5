import { encodeSignal } from "../protocol/frames.ts";
import type { Connection, Connections } from "./connections.ts";
import type { Hub } from "./hub.ts";
import type { OtherNodes } from "./other-nodes.ts";
import type { Clock } from "./ports.ts";
import type { SessionRef } from "./session.ts";
import { nameFor, nameOf, namingsOf, topicOf } from "./session.ts";

/** Signals a second, for one session and for those who manage clients: a storm of reconnects must not become one of presence. */
const PER_SECOND = 20;
/** What other nodes are told a second, of connections and of who follows sessions. */
const TOLD_PER_SECOND = 100;
const TO_MANAGERS = "";

interface Came {
  readonly who: ReturnType<typeof payload>;
  /** What it begins or ends to follow; null: the connection itself. */
  readonly session: SessionRef | null;
}

export interface PresenceOptions {
  readonly clock: Clock;
  readonly connections: Connections;
  readonly hub: Hub;
  readonly nodes: OtherNodes;
}

/**
 * presence.updated: to the watchers of the same session and to holders of clients.manage, at every node. presence.list has
 * the truth.
 */
export class Presence {
  readonly #options: PresenceOptions;
  #second = 0;
  readonly #sent = new Map<string, number>();

  constructor(options: PresenceOptions) {
    this.#options = options;
    options.nodes.on<Came>("presence", (came) => this.#show(came));
  }

  /** A connection began or ended: told to those who manage clients. */
  connection(connection: Connection, state: "joined" | "left"): void {
    if (connection.principal === null) return;
    this.#came({ who: payload(connection, state), session: null });
  }

  /** A connection began or ended to follow a session. */
  watcher(connection: Connection, session: SessionRef, state: "joined" | "left"): void {
    if (connection.principal === null || connection.transport === "local") return;
    this.#came({ who: payload(connection, state), session });
  }

  #came(came: Came): void {
    this.#show(came);
    const what = came.session === null ? "connections" : "watchers";
    if (this.#allowed(what, TOLD_PER_SECOND)) this.#options.nodes.tell("presence", came);
  }

  #show({ who, session }: Came): void {
    if (session === null) this.#showConnection(who);
    else this.#showWatcher(who, session);
  }

  #showConnection(who: Came["who"]): void {
    if (!this.#allowed(TO_MANAGERS)) return;
    const { clock, connections } = this.#options;
    const text = encodeSignal("presence.updated", clock.now(), who);
    const others = (each: Connection): boolean => each.id !== who.connection_id && each.transport === "ws";
    connections.signal(text, "presence.updated", "clients.manage", others);
  }

  #showWatcher(who: Came["who"], session: SessionRef): void {
    if (!this.#allowed(session.id)) return;
    const { clock, connections, hub } = this.#options;
    const frame = (name: string) => {
      const text = encodeSignal("presence.updated", clock.now(), { ...who, session_id: name }, name);
      return { text, type: "presence.updated", epoch: null, seq: null };
    };
    for (const naming of namingsOf(session))
      hub.publish(topicOf(session, naming), () => frame(nameOf(session, naming)));
    if (!this.#allowed(TO_MANAGERS)) return;
    for (const each of connections.all()) {
      if (each.state !== "connected" || each.transport !== "ws" || each.id === who.connection_id) continue;
      if (each.principal?.scopes.has("clients.manage") !== true || each.subscriptions.has(session.id))
        continue;
      each.send(frame(nameFor(session, each.principal.user)));
    }
  }

  #allowed(key: string, per_second = PER_SECOND): boolean {
    const second = Math.floor(this.#options.clock.monotonic() / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#sent.clear();
    }
    const sent = this.#sent.get(key) ?? 0;
    if (sent >= per_second) return false;
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
