import { expect } from "bun:test";
import type { EventRun, Message } from "../../src/protocol/entities.ts";
import type { FoldEvent, Transcript } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript } from "../../src/core/transcript.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import type { Watcher } from "../support/watcher.ts";
import { call, completedIn, readLog, saidIn, sha256, tokens } from "./direct.ts";
import type { Sent } from "./sender.ts";

/** A request somebody made, and what became of it. */
export interface Asked {
  readonly key: string;
  readonly cycle: number;
  readonly method: "chat.send" | "chat.inject";
  readonly params: {
    readonly session_id: string;
    readonly idempotency_key: string;
    readonly [field: string]: unknown;
  };
  /** Set when it was answered. */
  sent: Sent | null;
}

const END = /^run\.(completed|failed|aborted|interrupted)$/;

/** What is known of one session: its log as it was read after each start, and what that adds up to. */
export class Ledger {
  readonly session_id: string;
  readonly asked: Asked[] = [];
  readonly raw = new Map<string, string>();
  readonly events: FoldEvent[] = [];
  readonly transcript: Transcript = emptyTranscript();
  epoch = "";
  readonly #found = new Set<Asked>();
  #checked = 0;

  constructor(session_id: string) {
    this.session_id = session_id;
  }

  /** Reads on, and proves that nothing anybody saw or was promised is missing or different. */
  async check(gateway: RunningGateway, watcher: Watcher): Promise<void> {
    const { session_id, raw } = this;
    const from = this.epoch === "" ? undefined : { epoch: this.epoch, seq: this.events.length };
    const log = await readLog(gateway, session_id, from);
    // A crash of the process alone never begins another numbering.
    if (from !== undefined) expect(log.epoch).toBe(from.epoch);
    this.epoch = log.epoch;
    for (const [at, text] of log.raw) raw.set(at, text);
    for (const event of log.events) {
      this.events.push(event);
      expect(applyEvent(this.transcript, event)).toBe("ok");
    }
    expect(this.events.length).toBe(log.head);
    this.#checkSeen(watcher.name, watcher.seen);
    for (const { sent, key } of this.asked) {
      if (sent === null) continue;
      this.#checkSeen(key, sent.followed);
      expect(sent.wrong()).toBeNull();
    }
    this.#checkAnswers();
    this.#checkRuns();
    await this.#checkHistory(gateway);
    this.#checked = this.events.length;
  }

  #checkSeen(who: string, seen: ReadonlyMap<string, string>): void {
    for (const [at, text] of seen) {
      if (this.raw.get(at) === text) continue;
      throw new Error(
        `${who} saw ${at} of ${this.session_id}: ${text}\nthe log has ${this.raw.get(at) ?? "nothing"}`,
      );
    }
  }

  /** What was acknowledged is where the answer said it is. */
  #checkAnswers(): void {
    for (const asked of this.asked) {
      const { key, sent } = asked;
      // The log is only ever read on, so what was found in it once is found again.
      if (sent === null || this.#found.has(asked)) continue;
      this.#found.add(asked);
      const { seq, epoch, message_id } = sent.answer;
      const event = this.events[seq - 1];
      const payload = event?.payload as { readonly message?: Message } | undefined;
      const said = { epoch: event?.epoch, message_id: payload?.message?.message_id };
      expect({ key, ...said }).toEqual({ key, epoch, message_id });
    }
    const effects = this.#effects();
    expect(this.asked.filter(({ key }) => (effects.get(key) ?? 0) > 1)).toEqual([]);
  }

  /** How many messages each request made, by its key, which is the last word of what it says. */
  #effects(): Map<string, number> {
    const effects = new Map<string, number>();
    for (const { role, content } of this.transcript.messages) {
      const key = role === "user" ? content.slice(content.lastIndexOf(" ") + 1) : "";
      effects.set(key, (effects.get(key) ?? 0) + 1);
    }
    return effects;
  }

  /** Nothing is running; every run that ended ended once, with what was said as its text. */
  #checkRuns(): void {
    for (let i = this.#checked; i < this.events.length; i++) {
      const event = this.events[i];
      if (event === undefined || !END.test(event.event)) continue;
      const { run } = event.payload as { run: EventRun };
      const mine = this.events.filter(({ run_id }) => run_id === run.run_id);
      expect(mine.filter((each) => END.test(each.event)).length).toBe(1);
      expect(mine.at(-1)?.event).toBe(event.event);
      if (run.status !== "completed") expect([run.status, run.reason]).toEqual(["interrupted", "restart"]);
      this.#checkText(run, mine);
    }
    const others = this.transcript.runs.filter(
      ({ status }) => status !== "completed" && status !== "interrupted",
    );
    expect(others).toEqual([]);
    expect(this.transcript.session?.active_run_id).toBeUndefined();
  }

  #checkText(run: EventRun, mine: readonly FoldEvent[]): void {
    const said = saidIn(mine);
    const done = completedIn(mine);
    expect(done !== undefined).toBe(mine.some(({ event }) => event === "message.started"));
    if (done === undefined) return;
    const { message, length, sha256: hash } = done;
    expect(message.status).toBe(run.status === "completed" ? "complete" : "partial");
    expect(message.content).toBe(said);
    expect({ length, hash }).toEqual({ length: said.length, hash: sha256(said) });
    const whole = tokens(MODEL_TOKENS);
    expect(run.status === "completed" ? said === whole : whole.startsWith(said)).toBe(true);
  }

  /** The history of the API is what the log adds up to. */
  async #checkHistory(gateway: RunningGateway): Promise<void> {
    const params = { session_id: this.session_id, limit: 1_000 };
    const history = await call<{ messages: Message[]; total: number; epoch: string; head: number }>(
      gateway,
      "chat.history",
      params,
    );
    const { messages, total, epoch, head } = history;
    expect({ epoch, head }).toEqual({ epoch: this.epoch, head: this.events.length });
    expect(total).toBe(this.transcript.messages.length);
    expect(messages).toEqual(this.transcript.messages.slice(-messages.length));
  }

  /** After all is said: every request had one effect, and the watcher knows what the log knows. */
  checkEnd(watcher: Watcher): void {
    const effects = this.#effects();
    for (const { key, sent } of this.asked) {
      expect({ key, answered: sent !== null, effects: effects.get(key) ?? 0 }).toEqual({
        key,
        answered: true,
        effects: 1,
      });
    }
    expect(watcher.transcript.messages).toEqual(this.transcript.messages);
    expect(watcher.transcript.session).toEqual(this.transcript.session);
  }
}

/** What the model server says to everything, and how fast. */
export const MODEL_TOKENS = 100;
export const MODEL_PACE_MS = 5;
