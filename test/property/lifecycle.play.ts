import { expect } from "bun:test";
import fc from "fast-check";
import type { Store } from "../../src/core/store.ts";
import type { FakeConnection, ReceivedFrame, TestEngine } from "../support/engine.ts";
import { until } from "../support/engine.ts";
import type { Faults } from "../support/fault-store.ts";

const NAMES = ["a", "b"] as const;
const SOCKETS = 4;
const ENDS = ["run.completed", "run.failed", "run.aborted", "run.interrupted"];

const name = fc.constantFrom(...NAMES);
const socket = fc.nat({ max: SOCKETS - 1 });
const key = fc.option(fc.constantFrom("k1", "k2"), { nil: undefined });
/** One thing that happens. */
export const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("send" as const), name, socket, key }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("inject", "update", "subscribe", "abort", "fork", "compact", "history", "list"),
      name,
      socket,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("create", "delete"), name, socket }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("share", "unshare"), name }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("drop", "stall", "drain"), socket }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("outage", "over", "refuse", "fail") }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("pause", "settle") }) },
);
export type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Ann's sockets have even numbers and her own names for the sessions, Bob's what they were shared with him as. */
export class Play {
  readonly scene: TestEngine;
  readonly faults: Faults;
  readonly requests: Promise<unknown>[] = [];
  readonly published = new Map<string, number>();
  readonly wrong: string[] = [];
  /** What a socket of Bob's had been sent when the last share of a session was taken back, by gateway id. */
  readonly #revoked = new Map<string, Map<FakeConnection, number>>();
  readonly #ids = new Map<string, string>();
  /** Shares of a session that were asked for and not answered yet. */
  readonly #sharing = new Map<string, number>();
  #sockets: FakeConnection[] = [];

  constructor(scene: TestEngine, faults: Faults) {
    this.scene = scene;
    this.faults = faults;
    this.#sockets = Array.from({ length: SOCKETS }, (_, i) => this.#connect(i));
    scene.engine.hub.addListener({
      publish: (topic, { seq, epoch }) => {
        if (seq === null) return;
        const place = `${topic} ${epoch}`;
        const last = this.published.get(place);
        // Nobody may have followed in between, so one may be left out: but never twice, and never back.
        if (last !== undefined && seq <= last) this.wrong.push(`${place}: ${seq} after ${last}`);
        this.published.set(place, seq);
      },
    });
  }

  #connect(i: number): FakeConnection {
    return this.scene.connect(i % 2 === 0 ? "ann" : "bob");
  }

  #ask(i: number, method: string, named: string, params: Record<string, unknown> = {}): void {
    const connection = this.#sockets[i];
    if (connection === undefined) return;
    const mine = i % 2 === 0 || method === "session.create";
    const session_id = mine ? named : this.#ids.get(named);
    if (session_id === undefined) return;
    const answer = connection
      .request(method, { ...params, session_id })
      .catch((error: { reason: string }) => {
        // Whatever happens, nothing is a bug, and nobody is told of another's session.
        expect(error.reason).not.toBe("INTERNAL_ERROR");
        if (!mine) expect(error.reason).not.toBe("GONE");
      });
    this.requests.push(answer);
  }

  /** Both sessions are there, and Bob is let into one of them. */
  async begin(): Promise<void> {
    const ann = this.scene.connect("ann");
    for (const session_id of NAMES) await ann.request("session.create", { session_id });
    ann.close();
    await this.#share("share", NAMES[0]);
  }

  async act(each: Step): Promise<void> {
    switch (each.do) {
      case "send":
        return this.#ask(each.socket, "chat.send", each.name, {
          message: "hi",
          ...(each.key !== undefined && { idempotency_key: each.key }),
        });
      case "inject":
        return this.#ask(each.socket, "chat.inject", each.name, { role: "user", content: "x" });
      case "update":
        return this.#ask(each.socket, "session.update", each.name, { title: "t" });
      case "abort":
        return this.#ask(each.socket, "chat.abort", each.name);
      case "history":
        return this.#ask(each.socket, "chat.history", each.name);
      case "list":
        this.requests.push(this.#sockets[each.socket]?.request("session.list") ?? Promise.resolve());
        return;
      case "subscribe":
      case "fork":
      case "compact":
      case "create":
      case "delete":
        return this.#ask(each.socket, `session.${each.do}`, each.name);
      case "share":
      case "unshare":
        return this.#share(each.do, each.name);
      case "drop":
        this.#sockets[each.socket]?.close();
        this.#sockets[each.socket] = this.#connect(each.socket);
        return;
      case "stall":
        return void Object.assign(this.#sockets[each.socket] ?? {}, { pending: 1_000_000 });
      case "drain":
        return this.#sockets[each.socket]?.drain();
      default:
        return this.#disturb(each.do);
    }
  }

  async #disturb(what: "outage" | "over" | "refuse" | "fail" | "pause" | "settle"): Promise<void> {
    switch (what) {
      case "outage":
        return this.faults.outage("full");
      case "over":
        return this.faults.outage(null);
      case "refuse":
        return this.faults.refuse("busy");
      case "fail":
        return this.faults.failItem((item) => item.kind === "append" && item.run !== null, {
          ok: false,
          reason: "full",
        });
      case "pause":
        return new Promise((resolve) => setImmediate(resolve));
      case "settle":
        for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #share(what: "share" | "unshare", session_id: string): Promise<void> {
    if (what === "share") {
      this.checkRevoked();
      this.#revoked.delete(this.#ids.get(session_id) ?? "");
      this.#sharing.set(session_id, (this.#sharing.get(session_id) ?? 0) + 1);
    }
    const ann = this.scene.connect("ann");
    const params = { session_id, user: "bob", ...(what === "share" && { role: "editor" }) };
    const asked = ann.request(`session.${what}`, params).then(
      () => "ok",
      () => "refused",
    );
    this.requests.push(
      asked.then(() => {
        ann.close();
        if (what === "share") this.#sharing.set(session_id, (this.#sharing.get(session_id) ?? 0) - 1);
      }),
    );
    const answer = await Promise.race([asked, this.#disturb("settle").then(() => "late")]);
    const row = await this.scene.store.named("ann", session_id);
    if (row === null || row === "gone") return;
    this.#ids.set(session_id, row.id);
    // Only where it is known that it came last.
    if (answer !== "ok" || what === "share" || this.#sharing.get(session_id) !== 0) return;
    const bobs = this.#sockets.filter((_, i) => i % 2 === 1);
    this.#revoked.set(row.id, new Map(bobs.map((each) => [each, each.sent.length])));
  }

  /** Nothing of a session reached a socket after its user's share was taken back. */
  checkRevoked(): void {
    for (const [id, sockets] of this.#revoked) {
      for (const [connection, from] of sockets) {
        const frames = connection.sent.slice(from).map((text) => JSON.parse(text) as ReceivedFrame);
        expect(frames.filter(({ seq, session_id }) => seq !== undefined && session_id === id)).toEqual([]);
        expect(connection.subscriptions.has(id)).toBe(false);
      }
    }
  }

  async end(): Promise<void> {
    const { engine, store } = this.scene;
    this.faults.outage(null);
    for (const each of this.#sockets) each.drain();
    let isAnswered = false;
    void Promise.all(this.requests).then(() => (isAnswered = true));
    await until(() => isAnswered, "every request is answered");
    await until(() => engine.runs.lanes.running + engine.runs.lanes.queued === 0, "every run ends");
    await engine.journal.drained();
    await until(() => engine.journal.refused === null, "the outage is over");
    this.checkRevoked();
    await this.#checkLogs(store);
    for (const each of this.#sockets) each.close();
    const ann = this.scene.connect("ann");
    const bob = this.scene.connect("bob");
    for (const each of [ann, bob]) {
      const { sessions } = await each.request<{ sessions: { session_id: string; owner: string }[] }>(
        "session.list",
        { limit: 200 },
      );
      const own = sessions.filter(({ owner }) => owner === each.principal.user);
      for (const { session_id } of own) await remove(each, session_id);
    }
    await until(() => engine.journal.tails.size === 0, "nothing holds a tail");
    expect(this.wrong).toEqual([]);
    expect(this.scene.fatal.error).toBeNull();
  }

  /** The log of every session is whole, and every run that was accepted ended once. */
  async #checkLogs(store: Store): Promise<void> {
    for (const user of ["ann", "bob"]) {
      for (const { id, floor, head } of await store.sessions({ user, shared: [], limit: 1_000 })) {
        const types = new Map<string, string[]>();
        let seq = floor;
        while (seq < head) {
          const page = await store.page(id, seq, head);
          expect(page?.events[0]?.seq).toBe(seq + 1);
          for (const event of page?.events ?? []) {
            seq = event.seq;
            if (event.run_id === null) continue;
            types.set(event.run_id, [...(types.get(event.run_id) ?? []), event.type]);
          }
        }
        for (const events of types.values()) {
          expect(events.filter((type) => ENDS.includes(type))).toHaveLength(1);
          expect(ENDS).toContain(events.at(-1) ?? "");
        }
      }
    }
  }
}

/** A refusal that was told to come with the next group may come only now. */
async function remove(connection: FakeConnection, session_id: string): Promise<void> {
  for (;;) {
    const answer = await connection
      .request("session.delete", { session_id })
      .catch((error: { reason: string }) => error.reason);
    if (answer !== "UNAVAILABLE") return expect(answer).toEqual({});
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
