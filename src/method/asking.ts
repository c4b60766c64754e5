import type { Outcome } from "../core/call.ts";
import type { CallState, Cluster, NodeCall } from "../core/cluster.ts";
import { newId } from "../core/id.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { SessionRef } from "../core/session.ts";
import type { GatewayError } from "../protocol/errors.ts";
import { keyHolder, outcomeOfGone, readAnswer, readRelayed, relayedAnswer } from "./relay-call.ts";

export interface AskingOptions {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly log: Logger;
  /** This node has the session of something that was asked. */
  readonly here: () => void;
  /** Nobody that lives has it. */
  readonly nobody: (session: SessionRef) => void;
}

/** How soon what could not be put is put again. */
const PUT_AGAIN_MS = 250;
const AT_ONCE = 100;

interface Asked {
  readonly session: SessionRef;
  readonly body: string;
  readonly answer: (outcome: Outcome) => void;
}

/** What this node asks of others, until it is answered. */
export class Asking {
  readonly #options: AskingOptions;
  readonly #asked = new Map<string, Asked>();
  #queue: NodeCall[] = [];
  #isPutting = false;
  #isLooking = false;
  #lookAgain = false;

  constructor(options: AskingOptions) {
    this.#options = options;
  }

  /** Resolves once it is answered, or in `wait_ms` with what `late` makes. */
  ask(
    session: SessionRef,
    wait_ms: number,
    bodyOf: (id: string) => string,
    late: () => GatewayError,
  ): Promise<Outcome> {
    const { clock } = this.#options;
    const id = newId("call", clock.now());
    return new Promise((resolve) => {
      let cancel: () => void = () => undefined;
      const answer = (outcome: Outcome): void => {
        cancel();
        if (this.#asked.delete(id)) resolve(outcome);
      };
      const body = bodyOf(id);
      this.#asked.set(id, { session, body, answer });
      cancel = clock.after(wait_ms, () => answer({ ok: false, error: late() }));
      this.#queue.push({ id, session: session.id, body });
      void this.#put();
    });
  }

  /** There may be an answer. */
  look(): void {
    if (this.#asked.size > 0) void this.#find();
  }

  /** One group on its way at a time, so that the order is that in which they were asked. */
  async #put(): Promise<void> {
    if (this.#isPutting) return;
    this.#isPutting = true;
    const { cluster, clock, log } = this.#options;
    while (this.#queue.length > 0) {
      // Those nobody waits for any more were told that their outcome is open.
      const some = this.#queue.splice(0, AT_ONCE).filter(({ id }) => this.#asked.has(id));
      if (some.length === 0) continue;
      try {
        const states = await cluster.calls.put(some);
        for (const state of states) this.#settle(state);
      } catch (error) {
        // It may have been put all the same, so that nobody is told anything yet: twice counts once.
        log.warn({ err: error }, "requests could not be handed to other nodes yet: it is tried again");
        this.#queue.unshift(...some);
        await new Promise<void>((resolve) => clock.after(PUT_AGAIN_MS, resolve));
      }
    }
    this.#isPutting = false;
  }

  async #find(): Promise<void> {
    if (this.#isLooking) return void (this.#lookAgain = true);
    this.#isLooking = true;
    const { cluster, log } = this.#options;
    do {
      this.#lookAgain = false;
      try {
        const states = await cluster.calls.states([...this.#asked.keys()]);
        for (const state of states) this.#settle(state);
      } catch (error) {
        log.debug({ err: error }, "answers of other nodes could not be read: it is tried again");
      }
    } while (this.#lookAgain);
    this.#isLooking = false;
    return undefined;
  }

  #settle({ id, answer, place }: CallState): void {
    const asked = this.#asked.get(id);
    if (answer !== null) return asked?.answer(readAnswer(answer));
    if (place === "gone" && asked !== undefined) void this.#gone(id, asked);
    if (place === "here") this.#options.here();
    if (place === "nobody" && asked !== undefined) this.#options.nobody(asked.session);
    return undefined;
  }

  /** Nobody has the session any more, nor will anybody: what is left of the call goes. */
  async #gone(id: string, { body, answer }: Asked): Promise<void> {
    const { cluster, log } = this.#options;
    const request = readRelayed(body);
    const outcome = outcomeOfGone(request);
    answer(outcome);
    await cluster.calls
      .answer([{ id, answer: relayedAnswer(outcome), key_of: keyHolder(request) }])
      .catch((error: unknown) => log.debug({ err: error }, "a call about a session that is gone stays"));
  }
}
