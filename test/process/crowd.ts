import type { FoldEvent } from "../../src/core/transcript.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import type { Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import { openSocket } from "../support/ws-client.ts";
import { call } from "./direct.ts";

const BEAT_MS = 25;
const BEAT_BYTES = 12_000;

/** A session that says something every so often, and how late its readers hear it, ms. */
export class Crowd {
  readonly gateway: RunningGateway;
  readonly session_id: string;
  readonly readers: Watcher[] = [];
  latencies: number[] = [];
  #beats = 0;

  constructor(gateway: RunningGateway, session_id: string) {
    this.gateway = gateway;
    this.session_id = session_id;
  }

  async gather(count: number): Promise<void> {
    const { gateway, session_id } = this;
    await call(gateway, "session.create", { session_id });
    const onEvent = ({ event, payload }: FoldEvent): void => {
      if (event !== "app.beat") return;
      this.latencies.push(performance.now() - (payload as { at: number }).at);
    };
    for (let i = 0; i < count; i++) {
      const transport = i % 2 === 0 ? "ws" : "sse";
      const reader = startWatcher({
        name: `reader ${i} over ${transport}`,
        session_id,
        token: gateway.token,
        route: () => gateway.url,
        transport: () => transport,
        stall_ms: 120_000,
        onEvent,
      });
      this.readers.push(reader);
    }
    await Promise.all(this.readers.map((reader) => reader.until(() => reader.synced)));
  }

  /** Beats at a steady pace as long as it is asked to, at least `least` times. */
  async beat(least: number, on: () => boolean | Promise<boolean> = () => false): Promise<void> {
    const headers = { authorization: `Bearer ${this.gateway.token}` };
    await using socket = await openSocket(this.gateway.ws_url, { headers });
    const pad = "x".repeat(BEAT_BYTES);
    this.latencies = [];
    let due = performance.now();
    for (let n = 0; n < least || (await on()); n++) {
      const params = { session_id: this.session_id, event: "app.beat", durable: true };
      await socket.request("event.send", {
        ...params,
        payload: { n: this.#beats++, at: performance.now(), pad },
      });
      due += BEAT_MS;
      await Bun.sleep(Math.max(0, due - performance.now()));
    }
    const { head } = await call<{ head: number }>(this.gateway, "session.get", {
      session_id: this.session_id,
    });
    await Promise.all(this.readers.map((reader) => reader.reached(head)));
  }

  /** The latency that one in a hundred exceeds, ms. */
  p99(): number {
    const sorted = this.latencies.toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
  }
}
