import { writeSync } from "node:fs";
import { Beat } from "./beat.ts";
import type { Blocked } from "./blocked.ts";
import { blockedText, readBlocked, writeBlocked } from "./blocked.ts";

/**
 * A worker: sees that the gateway's event loop does not turn, which the gateway itself cannot. It writes down which
 * plug-in was at work, and ends the process where it does not go on at all: what was acknowledged is on disk, and
 * whoever supervises the gateway starts it again, without that plug-in.
 */

/** What the gateway's thread tells it. */
export type WatchdogRequest =
  | {
      readonly op: "watch";
      readonly memory: SharedArrayBuffer;
      readonly data_dir: string;
      /** Whether the process may be ended. */
      readonly may_end: boolean;
    }
  | ({
      readonly op: "about";
      readonly plugin: number;
      readonly source: string;
      readonly name: string;
      readonly digest: string;
    } & WatchdogBounds);

/** The last ones count, for all. */
export interface WatchdogBounds {
  readonly block_ms: number;
  readonly spin_ms: number;
}

export type WatchdogReport =
  /** It looks. */
  | { readonly op: "watching" }
  /** The event loop turns again. `suspects`: who was at work meanwhile. */
  | { readonly op: "over"; readonly suspects: readonly Blocked[]; readonly blocked_ms: number };

declare const self: {
  onmessage: ((event: MessageEvent<WatchdogRequest>) => void) | null;
  postMessage(message: WatchdogReport): void;
};

/** How often it looks. Only looks are counted: a machine that slept is no event loop that is blocked. */
const LOOK_MS = 50;

type About = Extract<WatchdogRequest, { op: "about" }>;
type Orders = Extract<WatchdogRequest, { op: "watch" }>;

const plugins = new Map<number, About>();
/** There are none before the first plug-in. */
let bounds: WatchdogBounds = { block_ms: Infinity, spin_ms: Infinity };

self.onmessage = ({ data }): void => {
  if (data.op === "watch") return new Watchdog(data).start();
  plugins.set(data.plugin, data);
  bounds = data;
  return undefined;
};

/** A plug-in that was alone at work while nothing else happened for so many times `block_ms` is kept out, too. */
const ALONE_TIMES = 3;

/** One time that the event loop does not turn. */
interface Stall {
  looks: number;
  /** Whose code was running at the last look, by number; 0: that of none. */
  plugin: number;
  /** Looks in a row at which it was that one. */
  same: number;
  /** Who was at work when it had lasted for `block_ms`; null: it has not. */
  suspects: readonly Blocked[] | null;
  /** It is the one whose code was running. */
  isSeen: boolean;
  isTold: boolean;
}

class Watchdog {
  readonly #orders: Orders;
  readonly #beat: Beat;
  #beats = -1;
  #stall: Stall | null = null;

  constructor(orders: Orders) {
    this.#orders = orders;
    this.#beat = new Beat(orders.memory);
  }

  start(): void {
    setInterval(() => this.#look(), LOOK_MS);
    self.postMessage({ op: "watching" });
  }

  #look(): void {
    const { beats, on_stack, loading } = this.#beat;
    if (beats !== this.#beats) {
      this.#beats = beats;
      const over = this.#stall;
      this.#stall = null;
      if (over !== null && over.looks * LOOK_MS >= bounds.block_ms) this.#report(over);
      return;
    }
    const plugin = on_stack === 0 ? loading : on_stack;
    const begun = { looks: 0, plugin, same: 0, suspects: null, isSeen: false, isTold: false };
    const stall = (this.#stall ??= begun);
    stall.looks++;
    stall.same = plugin === stall.plugin ? stall.same + 1 : 1;
    stall.plugin = plugin;
    const { block_ms, spin_ms } = bounds;
    if (stall.looks * LOOK_MS >= spin_ms && !stall.isTold) return this.#tell(stall);
    const isSeen = plugin > 0 && stall.same * LOOK_MS >= block_ms;
    const isLong = stall.looks * LOOK_MS >= block_ms;
    // Once, for who was at work may have finished by the next look; again where one is seen after something else.
    if (isLong && (stall.suspects === null || (isSeen && !stall.isSeen))) {
      stall.isSeen = isSeen;
      stall.suspects = this.#suspects(stall, false);
      this.#write(stall.suspects);
    }
    return undefined;
  }

  #report({ looks, suspects }: Stall): void {
    const blocked_ms = looks * LOOK_MS;
    const told = (suspects ?? []).map((each) => ({ ...each, blocked_ms }));
    this.#write(told);
    self.postMessage({ op: "over", suspects: told, blocked_ms });
  }

  /** Ends the process, where it may: nothing of it can be asked to do so. */
  #tell(stall: Stall): void {
    const { may_end } = this.#orders;
    stall.isTold = true;
    const suspects = this.#suspects(stall, may_end);
    this.#write(suspects);
    const secs = (bounds.spin_ms / 1_000).toFixed(1);
    const names = [...plugins.values()].map(({ name }) => name).join(", ");
    const who =
      suspects.length === 0
        ? `no plug-in was seen at work; there are ${names}`
        : suspects
            .map((each) => `the plug-in ${each.name} (${each.source}): ${blockedText(each)}`)
            .join("; ");
    const what = may_end ? "nothing has happened and the process is ended" : "nothing has happened";
    writeSync(2, `agentbus: for ${secs} s ${what}: ${who}\n`);
    if (may_end) process.kill(process.pid, "SIGKILL");
  }

  /** The one whose code was running; else those that had a call open. */
  #suspects({ plugin, looks, same }: Stall, ended: boolean): Blocked[] {
    const seen = plugin > 0 && same * LOOK_MS >= bounds.block_ms;
    const known = [...plugins.values()];
    const at = Date.now();
    const blocked_ms = looks * LOOK_MS;
    const isIt = (each: number): boolean => (seen ? each === plugin : this.#beat.open(each) > 0);
    return known
      .filter((each) => isIt(each.plugin))
      .map(({ source, name, digest }) => ({ source, name, digest, at, blocked_ms, ended, seen }));
  }

  /** One that was only at work may be innocent: it is not kept out for a moment in which others may have been busy. */
  #write(suspects: readonly Blocked[]): void {
    const long_ms = ALONE_TIMES * bounds.block_ms;
    const kept = suspects.filter(
      ({ seen, ended, blocked_ms }) => seen || ended || (suspects.length === 1 && blocked_ms >= long_ms),
    );
    if (kept.length === 0) return;
    const blocked = readBlocked(this.#orders.data_dir);
    for (const each of kept) blocked.set(each.source, each);
    try {
      writeBlocked(this.#orders.data_dir, blocked);
    } catch (error) {
      writeSync(2, `agentbus: which plug-in blocks cannot be written down: ${String(error)}\n`);
    }
  }
}
