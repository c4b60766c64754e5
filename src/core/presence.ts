import { encodeSignal } from "../protocol/frames.ts";
import type { Connection, Connections } from "./connections.ts";
import type { Hub } from "./hub.ts";
import type { OtherNodes } from "./other-nodes.ts";
import type { Clock } from "./ports.ts";
import type { SessionRef } from "./session.ts";
import { nameFor, nameOf, namingsOf, topicOf } from "./session.ts";
import { Trickle } from "./trickle.ts";

/** Signals a second to those who follow a session: a storm of reconnects must not become one of presence. */
const PER_SECOND = 20;
/** And to each of those who manage clients, and to all of them: a thousand of them who come at once would tell each other a million times. */
const MANAGER_PER_SECOND = 100;
const MANAGERS_PER_SECOND = 2_000;
/** What other nodes are told a second, of connections and of who follows sessions. */
const TOLD_PER_SECOND = 100;

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
 * presence.updated: to the watchers of the same session and to holders of clients.manage, at every node. In a storm it is late:
 * presence.list has the truth.
 */
export class Presence {
  readonly #options: PresenceOptions;
  /** To those here who follow a session, by its id. */
  readonly #shown: Trickle;
  readonly #managers: Trickle;
  /** To other nodes. */
  readonly #told: Trickle;
  #isClosing = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
    const { clock, connections } = options;
    const managed = (): number => {
      const each = Math.floor(MANAGERS_PER_SECOND / Math.max(1, connections.managers));
      return Math.max(1, Math.min(each, MANAGER_PER_SECOND));
    };
    this.#shown = new Trickle({ clock, per_second: () => PER_SECOND });
    this.#managers = new Trickle({ clock, per_second: managed });
    this.#told = new Trickle({ clock, per_second: () => TOLD_PER_SECOND });
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

  /** Those here go soon: the other nodes are told of each at once, while there is time. */
  close(): void {
    this.#isClosing = true;
    this.#shown.close();
    this.#managers.close();
    this.#told.flush();
    this.#told.close();
  }

  #came(came: Came): void {
    this.#show(came);
    const tell = (): void => this.#options.nodes.tell("presence", came);
    if (this.#isClosing) tell();
    else this.#told.offer(came.session === null ? "connections" : "watchers", placeOf(came), tell);
  }

  #show(came: Came): void {
    const { who, session } = came;
    const place = placeOf(came);
    if (session !== null) this.#shown.offer(session.id, place, () => this.#showWatchers(who, session));
    // Whoever comes to manage clients later asks who is there.
    if (this.#options.connections.managers === 0) return;
    this.#managers.offer("", place, () =>
      session === null ? this.#showConnection(who) : this.#showManagers(who, session),
    );
  }

  #showConnection(who: Came["who"]): void {
    const { clock, connections } = this.#options;
    const text = encodeSignal("presence.updated", clock.now(), who);
    const others = (each: Connection): boolean => each.id !== who.connection_id && each.transport === "ws";
    connections.signal(text, "presence.updated", "clients.manage", others);
  }

  #showWatchers(who: Came["who"], session: SessionRef): void {
    for (const naming of namingsOf(session)) {
      const frame = () => this.#frame(who, nameOf(session, naming));
      this.#options.hub.publish(topicOf(session, naming), frame);
    }
  }

  /** Those who do not follow it themselves. */
  #showManagers(who: Came["who"], session: SessionRef): void {
    for (const each of this.#options.connections.all()) {
      if (each.state !== "connected" || each.transport !== "ws" || each.id === who.connection_id) continue;
      if (each.principal?.scopes.has("clients.manage") !== true || each.subscriptions.has(session.id))
        continue;
      each.send(this.#frame(who, nameFor(session, each.principal.user)));
    }
  }

  #frame(who: Came["who"], name: string) {
    const { clock } = this.#options;
    const text = encodeSignal("presence.updated", clock.now(), { ...who, session_id: name }, name);
    return { text, type: "presence.updated", epoch: null, seq: null };
  }
}

/** What is told of it is told last of this. */
function placeOf({ who, session }: Came): string {
  return `${who.connection_id} ${session?.id ?? ""}`;
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
