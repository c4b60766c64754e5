import { leads, whileLeading } from "../core/leading.ts";
import type { Mirrors } from "../core/mirrors.ts";
import type { Logger } from "../core/ports.ts";
import type { Runner } from "../core/runner.ts";
import type { SessionRef } from "../core/session.ts";
import { takeBack } from "../core/session-mirrors.ts";
import type { Removal, UserBook } from "../core/users.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { CommandAppend } from "./append.ts";
import { appendAlone } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import type { EndDeps } from "./session-end.ts";
import { endSession, shareDrop, transferSession } from "./session-end.ts";

const SESSIONS_AT_ONCE = 50;
const RETRY_MS = 5_000;
/** So often the node that leads looks for deletions that are nobody's any more. */
const LOOK_MS = 5_000;
/** A session that another node has is asked for so often. */
const ELSEWHERE_MS = 500;

/** What nodes ask each other: whom they are about to delete. */
export const UNDER_WAY = "removals";

export interface RemovalDeps extends EndDeps, Pick<MethodDeps, "store" | "limits" | "ledger"> {
  readonly nodes: Pick<MethodDeps["nodes"], "ask">;
  readonly users: UserBook;
  readonly mirrors: Pick<Mirrors, "caughtUp">;
  readonly log: Logger;
}

/**
 * What is left to do of users who are being deleted: their sessions, what is shared with them, what is remembered of them,
 * and last their credentials and their name. Whatever is cut short goes on where it was, at the next start at the latest.
 */
export class Removals {
  readonly #deps: RemovalDeps;
  readonly #running = new Map<string, Promise<number>>();
  /** By user: what puts off another try. */
  readonly #retries = new Map<string, () => void>();
  #closed = false;
  #unlisten: () => void = () => undefined;

  constructor(deps: RemovalDeps) {
    this.#deps = deps;
  }

  /** Once at a start: goes on with those the last process did not finish, or a node that is gone, then or later. */
  resume(): void {
    const { store, clock } = this.#deps;
    let cancel = (): void => undefined;
    const end = (): void => cancel();
    const unlisten = whileLeading(store, {
      begin: () => {
        cancel();
        void this.#adopt();
        cancel = clock.every(LOOK_MS, () => void this.#adopt());
      },
      end,
    });
    this.#unlisten = () => {
      unlisten();
      end();
    };
  }

  /** The users this node is about to delete. */
  underWay(): string[] {
    return [...this.#running.keys(), ...this.#retries.keys()];
  }

  /** Goes on with what no node that lives is about to do. */
  async #adopt(): Promise<void> {
    const { nodes, users, store, mirrors } = this.#deps;
    const own = this.underWay();
    if (users.removals().every(({ user }) => own.includes(user))) return;
    const { answers, isWhole } = await nodes.ask<string[]>(UNDER_WAY, null);
    // One that has not answered may be at it: the next look knows whether it lives.
    if (!isWhole) return;
    // Who was just at it may be done, and the name somebody else's.
    await mirrors.caughtUp();
    if (this.#closed || !leads(store)) return;
    const taken = new Set([...this.underWay(), ...answers.flatMap(({ body }) => body)]);
    for (const removal of users.removals()) {
      if (!taken.has(removal.user)) void this.finish(removal).catch(() => undefined);
    }
  }

  /** Resolves with the number of sessions that went. @throws GatewayError when it is cut short: it is tried again */
  finish(removal: Removal): Promise<number> {
    const known = this.#running.get(removal.user);
    if (known !== undefined) return known;
    const work = this.#finish(removal).finally(() => this.#running.delete(removal.user));
    this.#running.set(removal.user, work);
    return work;
  }

  /** Stops after the step that is under way. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#unlisten();
    for (const cancel of this.#retries.values()) cancel();
    await Promise.allSettled(this.#running.values());
  }

  async #finish(removal: Removal): Promise<number> {
    const { user } = removal;
    try {
      const sessions = await this.#sessions(removal);
      if (!this.#isDecided(user)) return sessions;
      await this.#shares(user);
      await this.#stop(this.#deps.runs.askedBy(user), removal.by);
      await this.#forget(user);
      this.#deps.log.info({ user, by: removal.by, sessions }, "a user was deleted");
      return sessions;
    } catch (error) {
      if (!this.#closed) this.#again(removal, error);
      throw error;
    }
  }

  #again(removal: Removal, error: unknown): void {
    const { clock, log } = this.#deps;
    log.warn({ user: removal.user, err: error }, "the deletion of a user was cut short; it is tried again");
    this.#retries.get(removal.user)?.();
    const cancel = clock.after(RETRY_MS, () => {
      this.#retries.delete(removal.user);
      void this.finish(removal).catch(() => undefined);
    });
    this.#retries.set(removal.user, cancel);
  }

  async #sessions({ user, by, inheritance }: Removal): Promise<number> {
    const { store, clock, runs } = this.#deps;
    let count = 0;
    for (;;) {
      const rows = await store.sessions({ user, shared: [], limit: SESSIONS_AT_ONCE });
      if (rows.length === 0 || !this.#isDecided(user)) return count;
      const write = (command: CommandAppend): Promise<void> => appendAlone(this.#deps.journal, command);
      for (const { id, owner, name } of rows) {
        this.#checkOpen();
        const session: SessionRef = { id, owner, name };
        const work =
          inheritance.sessions === "delete"
            ? endSession(this.#deps, session, by, write)
            : transferSession(this.#deps, session, { to: inheritance.transfer_to, by }, write);
        await work.then(
          () => count++,
          (error: unknown) => this.#wait(error),
        );
      }
      // A run whose message was on its way when the user was shut out.
      await this.#stop(runs.ofOwner(user), by);
      await new Promise<void>((resolve) => clock.after(0, resolve));
    }
  }

  /** Another node has it until it has ended the runs there. @throws every other error */
  async #wait(error: unknown): Promise<void> {
    if (!(error instanceof GatewayError) || error.details?.["kind"] !== "elsewhere") throw error;
    await new Promise<void>((resolve) => this.#deps.clock.after(ELSEWHERE_MS, resolve));
  }

  #stop(runners: readonly Runner[], by: string): Promise<void> {
    return this.#deps.runs.stop(runners, { status: "aborted", ended_by: by, reason: "user deleted" });
  }

  async #shares(user: string): Promise<void> {
    const { directory, journal } = this.#deps;
    for (const session of directory.sharedWith(user)) {
      this.#checkOpen();
      await appendAlone(journal, {
        session: null,
        events: [],
        rows: [shareDrop(session, user)],
        remember: {},
        committed: () => takeBack(this.#deps, session, user),
      });
    }
  }

  async #forget(user: string): Promise<void> {
    const { journal, ledger, limits, users } = this.#deps;
    for (;;) {
      this.#checkOpen();
      if (!this.#isDecided(user)) return;
      const result = await journal.run({ kind: "forget", user, max_rows: limits.maintenance_rows });
      if (!result.ok || ("done" in result && result.done)) break;
    }
    this.#deps.maintenance.scrub();
    ledger.spending.forget(user);
    if (!this.#isDecided(user)) return;
    const { rows, commit, undo } = users.forget(user);
    await appendAlone(journal, { session: null, events: [], rows, remember: {}, committed: commit, undo });
  }

  /** Not where another node was first: who has the name by now is somebody else. */
  #isDecided(user: string): boolean {
    return this.#deps.users.removals().some((each) => each.user === user);
  }

  #checkOpen(): void {
    if (!this.#closed) return;
    throw new GatewayError("UNAVAILABLE", "the gateway is stopping; the user is deleted at the next start", {
      details: { kind: "draining" },
    });
  }
}
