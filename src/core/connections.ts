import type { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";
import type { Principal } from "./principal.ts";
import type { Reader, Subscription } from "./subscription.ts";

export type ConnectionState = "connecting" | "authenticating" | "connected" | "closing";

/** One socket or event stream. The transport owns it and changes it; everybody else reads it. */
export interface Connection extends Reader {
  readonly id: string;
  readonly transport: "ws" | "sse";
  readonly remote: string;
  readonly connected_at: number;
  readonly state: ConnectionState;
  readonly client_id: string;
  readonly client_name: string;
  readonly version: string;
  readonly platform: string;
  readonly capabilities: readonly string[];
  readonly last_activity: number;
  /** Null before the handshake. */
  readonly principal: Principal | null;
  /** By gateway id of the session. */
  readonly subscriptions: Map<string, Subscription>;
  /** Ends it with the error's close code (SSE: ends the stream). Idempotent. */
  close(error: GatewayError): void;
}

/** The open connections of this process. */
export class Connections {
  readonly #all = new Map<string, Connection>();
  readonly #byUser = new Map<string, Set<Connection>>();

  add(connection: Connection): void {
    this.#all.set(connection.id, connection);
  }

  /** Once the handshake is done: it now counts as its user's. */
  authenticated(connection: Connection, user: string): void {
    const set = this.#byUser.get(user) ?? new Set();
    set.add(connection);
    this.#byUser.set(user, set);
  }

  remove(connection: Connection): void {
    this.#all.delete(connection.id);
    const user = connection.principal?.user;
    if (user === undefined) return;
    const set = this.#byUser.get(user);
    set?.delete(connection);
    if (set?.size === 0) this.#byUser.delete(user);
  }

  get size(): number {
    return this.#all.size;
  }

  get(id: string): Connection | undefined {
    return this.#all.get(id);
  }

  all(): IterableIterator<Connection> {
    return this.#all.values();
  }

  ofUser(user: string): Iterable<Connection> {
    return this.#byUser.get(user) ?? [];
  }

  /** Sends one signal to every authenticated connection that has the scope and passes the filter; the number sent. */
  signal(
    text: string,
    type: string,
    scope: Scope | null,
    filter: (connection: Connection) => boolean = () => true,
  ): number {
    let sent = 0;
    for (const connection of this.#all.values()) {
      if (connection.state !== "connected" || connection.principal === null) continue;
      if (scope !== null && !connection.principal.scopes.has(scope)) continue;
      if (!filter(connection)) continue;
      connection.send({ text, type, epoch: null, seq: null });
      sent++;
    }
    return sent;
  }
}
