import { expect } from "bun:test";
import type { RunningGateway } from "../support/gateway-process.ts";
import type { Random } from "../support/random.ts";
import { seeded } from "../support/random.ts";
import type { Transport, Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import { call } from "./direct.ts";
import type { Asked } from "./kill-ledger.ts";
import { Ledger } from "./kill-ledger.ts";
import { sendUntilAnswered } from "./sender.ts";

const SESSIONS = 10;
const STALL_MS = 3_000;
/** Which requests of a cycle are what. */
const INJECT = 2;

export interface KillReport {
  /** From the start of each process to the line that says it listens, ms. */
  readonly startups: readonly number[];
  readonly interrupted: number;
  readonly events: number;
  readonly requests: number;
  readonly attempts: number;
  readonly openings: number;
}

/** Sessions that are asked and watched while their gateway is killed again and again. */
export class KillLoop implements AsyncDisposable {
  readonly #gateway: RunningGateway;
  readonly #seed: number;
  readonly #random: Random;
  readonly #ledgers: Ledger[] = [];
  readonly #watchers: Watcher[] = [];
  readonly #startups: number[] = [];
  #requests: Promise<void>[] = [];
  /** Where clients go: shut while the gateway is down, and until what it wrote before has been looked at. */
  #door = Promise.withResolvers<string>();

  constructor(gateway: RunningGateway, seed: number) {
    this.#gateway = gateway;
    this.#seed = seed;
    this.#random = seeded(seed);
  }

  async begin(): Promise<void> {
    for (let i = 0; i < SESSIONS; i++) {
      const ledger = new Ledger(`kill-${i}`);
      await call(this.#gateway, "session.create", { session_id: ledger.session_id });
      this.#ledgers.push(ledger);
      this.#watchers.push(this.#watch(ledger.session_id, i));
    }
    this.#door.resolve(this.#gateway.url);
  }

  /** Asks everybody, kills the gateway meanwhile, and proves that the next one has what this one showed. */
  async cycle(number: number): Promise<void> {
    const kill_ms = this.#random.between(20, 300);
    for (const ledger of this.#ledgers) {
      this.#ask(ledger, number, 0, kill_ms);
      if (this.#random.chance(0.4)) this.#ask(ledger, number, 1, kill_ms);
      if (this.#random.chance(0.4)) this.#ask(ledger, number, INJECT, kill_ms);
    }
    await this.#kill(kill_ms);
    // Before anybody else can come: what was running has ended.
    expect(await this.#unended()).toEqual([]);
    await this.#check();
    this.#askAgain(number);
    this.#door.resolve(this.#gateway.url);
    await Promise.all(this.#requests);
    this.#requests = [];
  }

  /** Lets everything end, and proves that every request had one effect and that the watchers know it all. */
  async finish(): Promise<KillReport> {
    for (let runs = await this.#unended(); runs.length > 0; runs = await this.#unended()) await Bun.sleep(20);
    await this.#check();
    for (const [i, ledger] of this.#ledgers.entries()) {
      const watcher = this.#watchers[i] as Watcher;
      await watcher.reached(ledger.events.length);
      ledger.checkEnd(watcher);
    }
    const asked = this.#ledgers.flatMap((ledger) => ledger.asked);
    const runs = this.#ledgers.flatMap(({ transcript }) => transcript.runs);
    return {
      startups: this.#startups,
      interrupted: runs.filter(({ status }) => status === "interrupted").length,
      events: this.#ledgers.reduce((sum, { events }) => sum + events.length, 0),
      requests: asked.length,
      attempts: asked.reduce((sum, { sent }) => sum + (sent?.attempts ?? 0), 0),
      openings: this.#watchers.reduce((sum, { openings }) => sum + openings.length, 0),
    };
  }

  async #check(): Promise<void> {
    const all = this.#ledgers.map((ledger, i) => ledger.check(this.#gateway, this.#watchers[i] as Watcher));
    await Promise.all(all);
  }

  #watch(session_id: string, index: number): Watcher {
    return startWatcher({
      name: `watcher of ${session_id}`,
      session_id,
      token: this.#gateway.token,
      route: () => this.#door.promise,
      transport: (n) => ((n + index) % 2 === 0 ? "ws" : "sse"),
      stall_ms: STALL_MS,
    });
  }

  /** @param kill_ms when the kill is: many requests are made just before it, so that their answers are lost. */
  #ask(ledger: Ledger, cycle: number, n: number, kill_ms: number): void {
    const random = this.#random;
    const { session_id } = ledger;
    const method = n === INJECT ? "chat.inject" : "chat.send";
    const key = `k${this.#seed}-${session_id}-${cycle}-${n}`;
    const text = `say it ${key}`;
    const said =
      method === "chat.send"
        ? { message: text, subscribe: random.chance(0.5) }
        : { role: "user", content: text };
    const asked: Asked = {
      key,
      cycle,
      method,
      params: { session_id, idempotency_key: key, ...said },
      sent: null,
    };
    ledger.asked.push(asked);
    const via = random.pick<Transport>(["ws", "sse"]);
    const early = n === 0 || random.chance(0.3);
    const at = early ? random.between(0, kill_ms) : kill_ms - random.between(0, 12);
    this.#requests.push(Bun.sleep(at).then(() => this.#request(asked, via)));
  }

  async #request(asked: Asked, via: Transport): Promise<void> {
    const { method, params } = asked;
    const { token } = this.#gateway;
    const route = (): Promise<string> => this.#door.promise;
    const sent = await sendUntilAnswered({
      route,
      token,
      method,
      params,
      transport: () => via,
      stall_ms: STALL_MS,
    });
    const before = asked.sent;
    if (before === null) {
      asked.sent = sent;
      return;
    }
    // The same request again: the same answer.
    const { message_id, seq, epoch } = before.answer;
    expect(sent.answer).toMatchObject({ message_id, seq, epoch });
    sent.leave();
  }

  /** Some of what was answered before the kill is asked once more after it. */
  #askAgain(cycle: number): void {
    for (const { asked } of this.#ledgers) {
      const answered = asked.filter((each) => each.sent !== null && each.cycle === cycle);
      const one = answered[this.#random.between(0, answered.length)];
      if (one !== undefined)
        this.#requests.push(this.#request(one, this.#random.pick<Transport>(["ws", "sse"])));
    }
  }

  async #kill(after_ms: number): Promise<void> {
    const [gateway, random] = [this.#gateway, this.#random];
    await Bun.sleep(after_ms);
    this.#door = Promise.withResolvers();
    gateway.kill("SIGKILL");
    if (random.chance(0.15)) {
      // Once more, while it starts: what it has begun to end is ended by the next one.
      const restarting = gateway.restart().catch(() => undefined);
      await Bun.sleep(random.between(50, 500));
      gateway.kill("SIGKILL");
      await restarting;
      // On a slow machine that came before there was a next process.
      gateway.kill("SIGKILL");
    }
    await gateway.restart();
    this.#startups.push(gateway.startup_ms);
  }

  /** Everything that is not terminal, by the API's word. */
  async #unended(): Promise<unknown[]> {
    const lists = ["running", "queued"].map((status) =>
      call<{ runs: unknown[] }>(this.#gateway, "run.list", { status }),
    );
    return (await Promise.all(lists)).flatMap(({ runs }) => runs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What a watcher refused is told by finish(), unless something else was wrong before.
    await Promise.allSettled(this.#watchers.map((watcher) => watcher.stop()));
    for (const { asked } of this.#ledgers) for (const { sent } of asked) sent?.leave();
  }
}
