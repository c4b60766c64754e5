import { pause } from "./clock.ts";
import type { Door } from "./knock.ts";
import { addressOf, knock, requestText } from "./knock.ts";
import type { Key } from "./login-key.ts";
import { newKey } from "./login-key.ts";

/** How something is done again and again: by so many at the most, so many beginning at once. */
export interface Load {
  readonly lanes: number;
  readonly at_once: number;
  readonly per_second: number;
}

/** Of one address so many signatures are verified. */
export const FORGERIES = 10;

/** Goes on until it is called: then it ends, and tells how often it was done. So many begin at once, whenever they are due. */
export function attack(load: Load, work: (n: number) => Promise<void>): () => Promise<number> {
  const { lanes, at_once, per_second } = load;
  let going = true;
  let done = 0;
  let begun = 0;
  const start = performance.now();
  const lane = async (): Promise<void> => {
    while (going) {
      const n = begun++;
      await pause(start + (Math.floor(n / at_once) * at_once * 1_000) / per_second - performance.now());
      if (!going) return;
      await work(n);
      done++;
    }
  };
  const all = Promise.all(Array.from({ length: lanes }, () => lane()));
  return async () => {
    going = false;
    await all;
    return done;
  };
}

/** From one of 200 addresses. */
export async function wrongPassword(door: Door, n: number): Promise<void> {
  const peer = await knock(door, addressOf(10_000 + (n % 200)));
  const body = JSON.stringify({ password: `wrong ${n}` });
  peer.write(requestText(door, "POST /api/v1/auth_sessions", [], body));
  const { status } = await peer.answer();
  peer.leave();
  if (![401, 429, 503].includes(status)) throw new Error(`a wrong password was answered with ${status}`);
}

/** Signatures of another key under that of a device, over a fresh nonce each, from ever new addresses. */
export class Forger {
  readonly #door: Door;
  readonly #device: object;

  constructor(door: Door, { device_id, public_key }: Key) {
    this.#door = door;
    // Made once: what it was made over is of no concern to who finds that it is wrong.
    this.#device = { ...newKey().prove({ nonce: "", server_id: "" }, "bench"), device_id, public_key };
  }

  async forge(n: number): Promise<void> {
    const peer = await knock(this.#door, addressOf(20_000 + (n % 30_000)));
    for (let i = 0; i < FORGERIES; i++) {
      peer.write(requestText(this.#door, "POST /api/v1/challenges", []));
      const { nonce } = JSON.parse((await peer.answer()).body) as { nonce: string };
      const device = { ...this.#device, nonce, timestamp: Date.now() };
      const login = JSON.stringify({ client_id: "bench", device });
      peer.write(requestText(this.#door, "POST /api/v1/auth_sessions", [], login));
      const { status, body } = await peer.answer();
      // Whichever it is told, it was verified.
      if (status !== 401 && status !== 429)
        throw new Error(`a forged signature was answered with ${status} ${body}`);
    }
    peer.leave();
  }
}

/** Asks for what is there for everybody, so often over one socket. */
export async function harmless(door: Door, n: number, times: number): Promise<void> {
  const peer = await knock(door, addressOf(10_000 + (n % 200)));
  for (let i = 0; i < times; i++) {
    peer.write(requestText(door, "GET /health", []));
    const { status } = await peer.answer();
    if (status !== 200) throw new Error(`/health was answered with ${status}`);
  }
  peer.leave();
}
