import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Arena } from "./beside.ts";
import { openArena } from "./beside.ts";
import type { RawSocket } from "./raw-peer.ts";
import { dialSocket, frame, TEXT } from "./raw-peer.ts";

/** Somebody who changes things faster than anybody may, and does not heed that. */

/** Changes a second, and at once; and for how long somebody may ask for more. */
const RATE = 50;
const BURST = 100;
const OVER_MS = 1_500;
const IN_FLIGHT = 16;
const ANSWER = '"type":"res"';

let arena: Arena;
beforeAll(async () => {
  arena = await openArena({ config: { limits: { mutations_over_ms: OVER_MS } } });
});
afterAll(() => arena[Symbol.asyncDispose]());

/** Asks for changes without a pause, sixteen at a time; the last that was heard. */
async function hurry(peer: RawSocket, session_id: string): Promise<string> {
  let answered = 0;
  let last = "";
  peer.listen((bytes) => {
    // An answer may come in two pieces.
    const text = last.slice(1 - ANSWER.length) + bytes.toString("latin1");
    answered += text.split(ANSWER).length - 1;
    last = (last + bytes.toString("latin1")).slice(-500);
  });
  for (let asked = 0; !peer.closed;) {
    const params = { session_id, role: "user", content: "x" };
    const request = { type: "req", id: String(asked++), method: "chat.inject", params };
    await peer.write(frame({ opcode: TEXT, payload: JSON.stringify(request) }));
    while (!peer.closed && asked - answered >= IN_FLIGHT) await Bun.sleep(0);
  }
  return last;
}

test("are made 50 times a second on one socket; who heeds nothing for a while is closed with 4029", () =>
  arena.beside(async (round) => {
    const session_id = `changes${round}`;
    await arena.call("session.create", { session_id });
    const began = performance.now();
    using peer = await dialSocket(arena.port, { Authorization: `Bearer ${arena.gateway.token}` });
    const last = await hurry(peer, session_id);
    const secs = (performance.now() - began) / 1_000;
    expect(last).toContain('"what":"mutations_over_ms"');
    // The close frame: 4029 and its reason.
    expect(last).toContain("\x0f\xbdRATE_LIMITED");
    expect(secs).toBeGreaterThan(OVER_MS / 1_000);
    const { total } = await arena.call("chat.history", { session_id, limit: 1 });
    expect(total).toBeGreaterThanOrEqual(BURST);
    expect(total).toBeLessThanOrEqual(BURST + Math.ceil(RATE * secs));
  }));
