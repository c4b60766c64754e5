import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Arena } from "./beside.ts";
import { inTime, Late, openArena } from "./beside.ts";
import type { RawSocket } from "./raw-peer.ts";
import { dialSocket, frame, TEXT } from "./raw-peer.ts";
import { watchLog } from "./watched-log.ts";

/** What `beside` promises of every attack is seen to fail here where it does not hold. */

const PAUSE_MS = 1_000;
const KIB = 1024;
const TRIES = 2;

describe("an attack", () => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await openArena({ tries: TRIES, settle_ms: 200 });
  });
  afterAll(async () => {
    // One of them made a secret of what the log begins with.
    await expect(arena[Symbol.asyncDispose]()).rejects.toThrow("a secret stands in the log");
  });

  /** Runs one; how often that was done, and what came of it. */
  async function run(attack: (round: number) => Promise<unknown>) {
    let rounds = 0;
    const counted = (round: number): Promise<unknown> => {
      rounds++;
      return attack(round);
    };
    const outcome = await arena.beside(counted).then(String, String);
    return { rounds, outcome };
  }
  /** The gateway does nothing for a while. */
  async function pause(): Promise<void> {
    arena.gateway.kill("SIGSTOP");
    await Bun.sleep(PAUSE_MS);
    arena.gateway.kill("SIGCONT");
  }

  test("that does no harm passes, and its result is told", async () => {
    expect(await run(() => Promise.resolve("seen"))).toEqual({ rounds: 1, outcome: "seen" });
  });

  test("that keeps the gateway from answering for a while fails, after it did so every time", async () => {
    const { rounds, outcome } = await run(pause);
    expect(outcome).toMatch(/^Error: an answer to the client that behaves took \d{3,} ms, not /);
    expect(rounds).toBe(TRIES);
  });

  test("beside which it was late once, because of the machine, is tried again and passes", async () => {
    const once = await run((round) => (round === 0 ? pause() : Promise.resolve()));
    expect(once).toEqual({ rounds: 2, outcome: "undefined" });
    const late = await run(async () => inTime(2, 1, "its answer"));
    expect(late).toEqual({ rounds: TRIES, outcome: `${new Late("its answer took 2 ms, not 1")}` });
  });

  test("whose own result is wrong is not tried again", async () => {
    const wrong = await run(() => Promise.reject(new Error("got in")));
    expect(wrong).toEqual({ rounds: 1, outcome: "Error: got in" });
  });

  test("that leaves memory behind fails", async () => {
    const sockets: RawSocket[] = [];
    const { rounds, outcome } = await run(async () => {
      // A frame of which the last byte never comes is kept until it does.
      const most = Buffer.alloc(256 * KIB - 1, 32);
      for (let i = 0; i < 400; i++) {
        const peer = await dialSocket(arena.port, { Authorization: `Bearer ${arena.gateway.token}` });
        sockets.push(peer);
        await peer.write(frame({ opcode: TEXT, payload: most, length: BigInt(most.length + 1) }));
      }
    });
    expect(outcome).toEndWith("for the gateway to be less than 64 MiB larger");
    expect(rounds).toBe(1);
    for (const peer of sockets) peer[Symbol.dispose]();
  });

  test("that brings a secret into the log fails", async () => {
    const { outcome } = await run(async () => arena.secret("listening"));
    // What was said before the attack began is looked at when the arena is left.
    expect(outcome).toBe("listening");
    const leaked = await run(async () => arena.log.heard({ level: "info", msg: "listening again" }));
    expect(leaked.outcome).toBe("Error: a secret stands in the log: listening");
  });

  test("that throws out the client that behaves fails", async () => {
    const { outcome } = await run(async () => {
      const { clients } = await arena.call("client.list");
      for (const { transport, connection_id } of clients) {
        if (transport === "ws") await arena.call("client.disconnect", { connection_id });
      }
    });
    expect(outcome).toContain("was closed");
  });
});

describe("a log", () => {
  test("holds no secret, in whatever form, and nothing that looks like one", () => {
    const cases: [string, string][] = [
      ["two\nlines", "two\nlines"],
      ["pass/word", "GET /?password=pass%2Fword"],
      ["a password", `Basic ${btoa("gateway:a password")}`],
      ["something else", `agt_${"x".repeat(43)}`],
    ];
    for (const [secret, msg] of cases) {
      const log = watchLog([]);
      log.secret(secret);
      log.heard({ level: "debug", msg: "nothing of it" });
      log.check();
      log.heard({ level: "debug", msg });
      expect(() => log.check()).toThrow("a secret stands in the log");
    }
  });

  test("holds no error but those that are expected, and no line the logger did not write", () => {
    const log = watchLog(["storage refuses"]);
    log.heard({ level: "error", msg: "storage refuses writes" });
    log.check();
    log.heard({ level: "error", msg: "a bug" });
    expect(() => log.check()).toThrow("a bug");
    log.heard({ msg: "forged" });
    expect(() => log.check()).toThrow("forged");
  });
});
