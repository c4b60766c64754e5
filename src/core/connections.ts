import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";
import type { Limits } from "./limits.ts";
import type { Principal } from "./principal.ts";
import { deviceOf } from "./principal.ts";
import type { Reader, Subscription } from "./subscription.ts";
import { Tally } from "./tally.ts";

export type ConnectionState = "connecting" | "authenticating" | "connected" | "closing";

/** One socket or event stream. The transport owns it and changes it; everybody else reads it. */
export interface Connection extends Reader {
  readonly id: string;
  /** "local": a reader in this process, which is never listed. */
  readonly transport: "ws" | "sse" | "local";
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

export interface ConnectionsOptions {
  readonly limits: Pick<
    Limits,
    | "max_connections"
    | "max_connections_per_user"
    | "max_connections_per_device"
    | "max_unauthenticated"
    | "max_unauthenticated_per_address"
  >;
  /** What of an address counts as one: an attacker has a whole /64 of IPv6. */
  readonly networkOf: (address: string) => string;
}

/** What a connection is counted as. */
interface Seat {
  readonly user: string | null;
  /** Unauthenticated, from this network. */
  readonly stranger: string | null;
  /** The user whose connections are bounded. */
  readonly bound: string | null;
  readonly device: string | null;
  readonly manages: boolean;
}

/** How soon somebody may come again for whom there was no room. */
const RETRY_MS = 2_000;

/**
 * The open connections of this process, and whether there is room for one more: one question and one count, so that a
 * place is given back with its connection and by nothing else.
 */
export class Connections {
  readonly #options: ConnectionsOptions;
  /** Since start, by transport. */
  readonly opened: Record<Connection["transport"], number> = { ws: 0, sse: 0, local: 0 };
  readonly #all = new Map<string, Connection>();
  readonly #seats = new Map<Connection, Seat>();
  readonly #byUser = new Map<string, Set<Connection>>();
  readonly #strangers = new Tally();
  readonly #bound = new Tally();
  readonly #devices = new Tally();
  #managers = 0;
  /** Requests over HTTP that wait. */
  #requests = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** It is open, as whoever it is by now. */
  add(connection: Connection): void {
    this.#all.set(connection.id, connection);
    this.opened[connection.transport]++;
    this.#sit(connection, this.#seatOf(connection, connection.principal));
  }

  /**
   * It turns out whose it is: it counts as that one's from now on, and is about to have that principal. The error,
   * where there is no room for it: then it counts as before.
   */
  become(connection: Connection, principal: Principal): GatewayError | null {
    const before = this.#leave(connection);
    const full = this.fullFor(principal);
    const next = full === null ? this.#seatOf(connection, principal) : before;
    if (next !== null) this.#sit(connection, next);
    return full;
  }

  remove(connection: Connection): void {
    if (this.#all.delete(connection.id)) this.#leave(connection);
  }

  /** Why nobody at all can come in; null: there is room. */
  full(): GatewayError | null {
    return this.#check("max_connections", this.#all.size + this.#requests);
  }

  /** Why nobody can come in from there who does not say who it is; null: there is room. */
  fullForStranger(address: string): GatewayError | null {
    return (
      this.#check("max_unauthenticated", this.#strangers.total) ??
      this.#check("max_unauthenticated_per_address", this.#strangers.of(this.#options.networkOf(address)))
    );
  }

  /** Why this one has to stay outside; null: there is room. An administrator is bound by the total only. */
  fullFor(principal: Principal): GatewayError | null {
    const { bound, device } = boundsOf(principal);
    return (
      (device === null ? null : this.#check("max_connections_per_device", this.#devices.of(device))) ??
      (bound === null ? null : this.#check("max_connections_per_user", this.#bound.of(bound)))
    );
  }

  /**
   * A place for a request over HTTP that waits, which keeps a connection busy as an event stream does; what is answered
   * gives it back (idempotent). @throws GatewayError UNAVAILABLE
   */
  takeForRequest(principal: Principal): () => void {
    const full = this.full() ?? this.fullFor(principal);
    if (full !== null) throw full;
    const seat: Seat = { user: null, stranger: null, ...boundsOf(principal), manages: false };
    this.#requests++;
    this.#count(seat, 1);
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#requests--;
      this.#count(seat, -1);
    };
  }

  /** Those that may manage clients. */
  get managers(): number {
    return this.#managers;
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

  #check(what: keyof ConnectionsOptions["limits"], count: number): GatewayError | null {
    const limit = this.#options.limits[what];
    if (count < limit) return null;
    return new GatewayError("UNAVAILABLE", `too many connections (${what} = ${limit}): try again later`, {
      details: { kind: "connections" },
      limit: { what, limit },
      retry_after_ms: RETRY_MS,
    });
  }

  #seatOf({ remote }: Connection, principal: Principal | null): Seat {
    if (principal !== null) {
      const manages = principal.scopes.has("clients.manage");
      return { user: principal.user, stranger: null, ...boundsOf(principal), manages };
    }
    const stranger = this.#options.networkOf(remote);
    return { user: null, stranger, bound: null, device: null, manages: false };
  }

  #sit(connection: Connection, seat: Seat): void {
    this.#seats.set(connection, seat);
    this.#count(seat, 1);
    if (seat.user === null) return;
    const set = this.#byUser.get(seat.user) ?? new Set();
    this.#byUser.set(seat.user, set.add(connection));
  }

  #leave(connection: Connection): Seat | null {
    const seat = this.#seats.get(connection);
    if (seat === undefined) return null;
    this.#seats.delete(connection);
    this.#count(seat, -1);
    if (seat.user === null) return seat;
    const set = this.#byUser.get(seat.user);
    set?.delete(connection);
    if (set?.size === 0) this.#byUser.delete(seat.user);
    return seat;
  }

  #count({ stranger, bound, device, manages }: Seat, by: 1 | -1): void {
    if (manages) this.#managers += by;
    if (stranger !== null) this.#strangers.count(stranger, by);
    if (bound !== null) this.#bound.count(bound, by);
    if (device !== null) this.#devices.count(device, by);
  }
}

function boundsOf(principal: Principal): Pick<Seat, "bound" | "device"> {
  const { user, scopes } = principal;
  return { bound: scopes.has("admin") ? null : user, device: deviceOf(principal) };
}
