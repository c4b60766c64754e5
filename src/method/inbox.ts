import type { Caller, Dispatch, Outcome } from "../core/call.ts";
import type { CallAnswer, NodeCall } from "../core/cluster.ts";
import { isElsewhere, servedElsewhere } from "../core/outage.ts";
import type { Principal } from "../core/principal.ts";
import { NoSuchSession } from "../core/slot.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { RelayedRequest, Yield } from "./relay-call.ts";
import { keyHolder, outcomeOfGone, readRelayed, relayedAnswer } from "./relay-call.ts";
import type { RelayOptions } from "./relay.ts";

export interface InboxOptions extends RelayOptions {
  readonly dispatch: Dispatch;
  /** Whoever asks was let in by another node. */
  readonly known: (principal: Principal) => void;
}

/** Calls that are carried out at once. */
const AT_ONCE = 500;
/** What a node that stops still does: it ends what runs. */
const ENDS: ReadonlySet<string> = new Set(["chat.abort"]);

/** What other nodes ask of the one that has a session: carried out one session's after the other, in their order. */
export class Inbox {
  readonly #options: InboxOptions;
  /** Ids of those that were begun, and are not answered in the store. */
  readonly #begun = new Set<string>();
  /** The last one of each session: the next waits until it is on its way into the log, or (false) left, and is left then, too. */
  readonly #last = new Map<string, Promise<boolean>>();
  /** How many were left: what was read meanwhile may be what comes after them. */
  #left = 0;
  #answers: CallAnswer[] = [];
  #isReading = false;
  #again = false;
  #isAnswering = false;
  #isClosed = false;

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /** There may be more to do. */
  wake(): void {
    this.#again = true;
    if (this.#answers.length > 0) void this.#answer();
    if (!this.#isReading && !this.#isClosed) void this.#read();
  }

  /** Resolves when what was carried out is answered. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#last.values());
    await this.#answer();
  }

  async #read(): Promise<void> {
    this.#isReading = true;
    const { cluster, log, draining } = this.#options;
    while (this.#again && !this.#isClosed) {
      this.#again = false;
      const left = this.#left;
      try {
        const calls = await cluster.calls.waiting([...this.#begun], AT_ONCE);
        if (left !== this.#left) {
          this.#again = true;
          continue;
        }
        for (const call of calls) {
          const request = this.#requestOf(call);
          if (request === null) continue;
          // What is begun here now would be ended at once: the next node begins it.
          if (draining() && "method" in request && !ENDS.has(request.method)) continue;
          this.#begin(call, request);
        }
        if (calls.length === AT_ONCE && !draining()) this.#again = true;
      } catch (error) {
        log.debug({ err: error }, "what other nodes ask could not be read: it is tried again");
        break;
      }
    }
    this.#isReading = false;
  }

  /** Null: it is answered, for nobody can carry it out. */
  #requestOf(call: NodeCall): RelayedRequest | Yield | null {
    try {
      return readRelayed(call.body);
    } catch (error) {
      this.#begun.add(call.id);
      this.#done(call, { ok: false, error: this.#publicError(call, error) });
      return null;
    }
  }

  #begin(call: NodeCall, request: RelayedRequest | Yield): void {
    this.#begun.add(call.id);
    const before = this.#last.get(call.session) ?? Promise.resolve(true);
    const mine = before.then((went) => (went ? this.#carryOut(call, request) : this.#leave(call)));
    this.#last.set(call.session, mine);
    void mine.then(() => {
      if (this.#last.get(call.session) === mine) this.#last.delete(call.session);
    });
  }

  /** Resolves when the next one of the session may be begun; false: it was left. Never rejects. */
  async #carryOut(call: NodeCall, request: RelayedRequest | Yield): Promise<boolean> {
    const { store, journal } = this.#options;
    const { tails } = journal;
    try {
      const row = await store.session(call.session);
      if (row === null) return this.#done(call, outcomeOfGone(request), keyHolder(request));
      const session = { id: row.id, owner: row.owner, name: row.name };
      await tails.own(session);
      try {
        if ("method" in request) return await this.#dispatch(call, request);
        return this.#done(call, await this.#yield(call.session, request));
      } finally {
        tails.release(session.id);
      }
    } catch (error) {
      if (isForLater(error)) return this.#leave(call, error);
      const outcome =
        error instanceof NoSuchSession
          ? outcomeOfGone(request)
          : { ok: false as const, error: this.#publicError(call, error) };
      return this.#done(call, outcome, keyHolder(request));
    }
  }

  /** What whoever asked may know of what went wrong before it was carried out. */
  #publicError({ id, session }: NodeCall, error: unknown): GatewayError {
    if (error instanceof GatewayError) return error;
    this.#options.log.error(
      { call: id, session, err: error },
      "what another node asks cannot be carried out",
    );
    const message = `something went wrong; the log of the node that has the session has it under ${id}`;
    return new GatewayError("INTERNAL_ERROR", message, { details: { id } });
  }

  /** Lets a session go, so that whoever asks can have it. */
  async #yield(session: string, { ending }: Yield): Promise<Outcome> {
    const { journal, runs, cluster } = this.#options;
    const isBusy = runs.lanes.has(session) || journal.tails.isBusy(session);
    if (ending === null && isBusy) {
      const error = new GatewayError("CONFLICT", "something happens in the session", {
        details: { kind: "state" },
      });
      return { ok: false, error };
    }
    const reopen = ending === null ? null : await runs.shut(session, ending);
    // What is on its way into the log is shown once, from here.
    while (journal.tails.isBusy(session)) await journal.drained();
    journal.tails.lose([session]);
    reopen?.();
    await cluster.release([session]);
    return { ok: true, payload: {} };
  }

  /** Who asks: as they are known here, for what they came in with may have ended since. */
  async #principal({ id }: NodeCall, { principal, bond }: RelayedRequest): Promise<Principal> {
    const { vouching, mirrors, known } = this.#options;
    const shown: Principal = { ...principal, scopes: new Set(principal.scopes) };
    let admitted = vouching().admit(shown, id, bond);
    if (admitted === null) {
      await mirrors.caughtUp();
      admitted = vouching().admit(shown, id, bond);
    }
    if (admitted === shown) known(shown);
    return admitted ?? shown;
  }

  async #dispatch(call: NodeCall, asked: RelayedRequest): Promise<boolean> {
    const principal = await this.#principal(call, asked);
    const { method, params, ...request } = asked;
    return new Promise((entered) => {
      const { message_id, run_id, mark } = request;
      const caller: Caller = {
        ...request.caller,
        principal,
        mark,
        connection: null,
        signal: new AbortController().signal,
        relayed: {
          id: call.id,
          message_id,
          run_id,
          entered: () => entered(true),
          settle: (ids) => this.#settle(call, asked, ids),
        },
      };
      this.#options.dispatch(caller, { method, params }, (outcome) => {
        entered(this.#done(call, outcome, keyHolder(asked)));
      });
    });
  }

  /** It stands in the store before it is done: whoever finds the call unanswered does it to the same. */
  async #settle(call: NodeCall, asked: RelayedRequest, ids: readonly string[]): Promise<readonly string[]> {
    if (asked.acts_on !== undefined) return asked.acts_on;
    const body = JSON.stringify({ ...asked, acts_on: ids } satisfies RelayedRequest);
    if (!(await this.#options.cluster.calls.amend(call, body))) throw servedElsewhere();
    return ids;
  }

  /** False: it was left. */
  #done(call: NodeCall, outcome: Outcome, key_of: string | null = null): boolean {
    // Whoever has the session now carries it out.
    if (!outcome.ok && isElsewhere(outcome.error)) return this.#leave(call, outcome.error);
    this.#answers.push({ id: call.id, answer: relayedAnswer(outcome), key_of });
    void this.#answer();
    return true;
  }

  /** It was not carried out, and is looked at again. Without an error: what comes before it was not. */
  #leave({ id, session }: NodeCall, error?: unknown): false {
    this.#begun.delete(id);
    this.#left++;
    if (error !== undefined && !isElsewhere(error))
      this.#options.log.warn({ session, err: error }, "what another node asks could not be carried out yet");
    return false;
  }

  async #answer(): Promise<void> {
    if (this.#isAnswering) return;
    this.#isAnswering = true;
    const { cluster, log } = this.#options;
    while (this.#answers.length > 0) {
      const some = this.#answers.slice(0, AT_ONCE);
      try {
        await cluster.calls.answer(some);
        this.#answers = this.#answers.slice(some.length);
        for (const { id } of some) this.#begun.delete(id);
      } catch (error) {
        log.warn({ err: error }, "what other nodes asked could not be answered yet");
        break;
      }
    }
    this.#isAnswering = false;
  }
}

/** Whether the same may be carried out later: storage does not answer, the session is another node's, this one stops. */
function isForLater(error: unknown): boolean {
  return error instanceof GatewayError && error.reason === "UNAVAILABLE";
}
