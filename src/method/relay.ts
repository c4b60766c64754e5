import type { Dispatch, Outcome } from "../core/call.ts";
import type { Connection } from "../core/connections.ts";
import type { Ending } from "../core/ending.ts";
import type { Runs } from "../core/runs.ts";
import type { Cluster } from "../core/cluster.ts";
import { newId } from "../core/id.ts";
import { isElsewhere, storageRefuses } from "../core/outage.ts";
import type { Journal } from "../core/journal.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Mirrors } from "../core/mirrors.ts";
import type { Principal, Vouching } from "../core/principal.ts";
import type { Directory, SessionRef } from "../core/session.ts";
import type { Store } from "../core/store.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodDefinition } from "../protocol/methods.ts";
import { Asking } from "./asking.ts";
import { Inbox } from "./inbox.ts";
import { isOwners, SLOW } from "./owners.ts";
import type { Call } from "./registry.ts";
import type { MadeIds } from "./relay-call.ts";
import { relayedBody, yieldBody } from "./relay-call.ts";

export interface RelayOptions {
  readonly cluster: Cluster;
  readonly store: Pick<Store, "session" | "run">;
  readonly journal: Journal;
  readonly runs: Runs;
  readonly directory: Directory;
  readonly mirrors: Pick<Mirrors, "caughtUp">;
  readonly vouching: () => Vouching;
  readonly clock: Clock;
  readonly log: Logger;
  readonly draining: () => boolean;
}

/** How long whoever asked waits for another node. */
const WAIT_MS = 10_000;
const WAIT_SLOW_MS = 60_000;
/** How soon an answer is found of which nobody told. */
const LOOK_EVERY_MS = 1_000;
/** How often a session is asked for that others want, too. */
const BRING_TRIES = 3;

/**
 * Hands requests to the nodes that have their sessions, and carries out those that are this node's. What is handed over is on
 * disk first: it is carried out once, whoever has the session by then, also where nobody waits for the answer any more.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #inbox: Inbox;
  readonly #asking: Asking;
  readonly #principals = new WeakSet<Principal>();
  /** How many of these each connection asked about each session. */
  readonly #waiting = new Map<string, number>();
  #end: () => void = () => undefined;

  constructor(options: RelayOptions, dispatch: Dispatch) {
    this.#options = options;
    const known = (principal: Principal): void => void this.#principals.add(principal);
    this.#inbox = new Inbox({ ...options, dispatch, known });
    const here = (): void => this.#inbox.wake();
    const nobody = (session: SessionRef): void => void this.#take(session);
    this.#asking = new Asking({ ...options, here, nobody });
  }

  /** Once the store is open. */
  start(): void {
    const { cluster, clock } = this.#options;
    const unlisten = cluster.calls.onNews((what) => {
      if (what === "asked") this.#inbox.wake();
      else this.#asking.look();
    });
    const cancel = clock.every(LOOK_EVERY_MS, () => {
      this.#inbox.wake();
      this.#asking.look();
    });
    this.#end = () => {
      unlisten();
      cancel();
    };
    this.#inbox.wake();
  }

  /** Nothing more is carried out. */
  async close(): Promise<void> {
    this.#end();
    await this.#inbox.close();
  }

  /** Whether another node let somebody in who asks here. */
  vouchesFor(principal: Principal): boolean {
    return this.#principals.has(principal);
  }

  /** The session that a request is about, where another node has it, or had it; null: it is carried out here. */
  async elsewhere(
    { name }: MethodDefinition,
    params: unknown,
    { user, caller }: Pick<Call, "user" | "caller">,
  ): Promise<SessionRef | null> {
    if (!isOwners(name, params)) return null;
    const { tails } = this.#options.journal;
    const session = await this.sessionOf(params, user);
    if (session === null) return null;
    try {
      await tails.pin(session);
    } catch {
      // Whoever carries it out says what is wrong.
      return null;
    }
    // It may be this node's by now: what its connection asked before comes before this.
    const waits = this.#waiting.has(placeOf(session, caller.connection));
    const found = waits || tails.isElsewhere(session.id) ? session : null;
    tails.release(session.id);
    return found;
  }

  /** Has it carried out where the session is, after what was asked before. */
  ask(session: SessionRef, { name }: MethodDefinition, params: unknown, call: Call): Promise<Outcome> {
    const { clock, journal, vouching } = this.#options;
    // Whether something reached a database that does not answer nobody could say.
    if (journal.refused !== null) {
      call.entered();
      return Promise.resolve({ ok: false, error: storageRefuses() });
    }
    const now = clock.now();
    const ids: MadeIds = { message_id: newId("msg", now), run_id: newId("run", now) };
    const wait_ms = SLOW.has(name) ? WAIT_SLOW_MS : WAIT_MS;
    const body = (id: string): string => {
      const bond = vouching().bond(call.caller.principal, id);
      return relayedBody(call.caller, call.mark, { ...ids, bond, method: name, params });
    };
    const outcome = this.#asking.ask(session, wait_ms, body, () => tooLong(name, ids));
    const { connection } = call.caller;
    if (connection !== null) {
      const place = placeOf(session, connection);
      this.#wait(place, 1);
      void outcome.then(() => this.#wait(place, -1));
    }
    call.entered();
    return outcome;
  }

  /**
   * Has this node have a session: whoever has it ends its runs in it so, or, with null, keeps it where something happens in
   * it. @throws GatewayError CONFLICT, UNAVAILABLE
   */
  readonly bring = async (session: SessionRef, ending: Ending | null): Promise<void> => {
    const { tails } = this.#options.journal;
    for (let tries = 1; ; tries++) {
      try {
        await tails.own(session);
        return tails.release(session.id);
      } catch (error) {
        if (!isElsewhere(error) || tries > BRING_TRIES) throw error;
      }
      const outcome = await this.#asking.ask(session, WAIT_SLOW_MS, yieldBody(ending), () => {
        return new GatewayError("TIMEOUT", "the node that has the session does not let it go");
      });
      if (!outcome.ok) throw outcome.error;
    }
  };

  /** A session that another node left, which is gone: takes it, ends what was left, does what was asked meanwhile. */
  async adopt(id: string): Promise<void> {
    const row = await this.#options.store.session(id).catch(() => null);
    if (row !== null) await this.#take({ id, owner: row.owner, name: row.name });
  }

  /** The session that a request of a user is about; null: none that there is. */
  async sessionOf(params: unknown, user: string): Promise<SessionRef | null> {
    const { directory, store } = this.#options;
    const { session_id, run_id } = params as { session_id?: unknown; run_id?: unknown };
    let id = session_id;
    if (id === undefined && typeof run_id === "string") id = (await store.run(run_id))?.session;
    if (typeof id !== "string") return null;
    try {
      return await directory.lookup(user, id);
    } catch {
      return null;
    }
  }

  #wait(place: string, by: 1 | -1): void {
    const waiting = (this.#waiting.get(place) ?? 0) + by;
    if (waiting > 0) this.#waiting.set(place, waiting);
    else this.#waiting.delete(place);
  }

  /** The node that had it is gone: the first who finds out has it. */
  async #take(session: SessionRef): Promise<void> {
    const { log, journal } = this.#options;
    const { tails } = journal;
    if (this.#options.draining()) return;
    try {
      await tails.own(session);
      tails.release(session.id);
    } catch (error) {
      if (!isElsewhere(error)) log.debug({ session: session.id, err: error }, "a session could not be taken");
    }
    this.#inbox.wake();
  }
}

function placeOf({ id }: SessionRef, connection: Connection | null): string {
  return `${connection?.id} ${id}`;
}

function tooLong(method: string, ids: MadeIds): GatewayError {
  return new GatewayError(
    "TIMEOUT",
    `${method} is for another node, which has not answered yet; it is carried out once, or not at all where the database is out of reach`,
    { details: method === "chat.send" ? { ...ids } : {} },
  );
}
