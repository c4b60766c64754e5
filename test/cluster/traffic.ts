import { expect } from "bun:test";
import type { SQL } from "bun";
import type { Person } from "../gateway/stack.ts";
import type { Transport, Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import { sayUntilAnswered } from "./commands.ts";
import type { ClusterNode } from "./nodes.ts";
import { expectTruth, readTruth, settled, timesSaid } from "./truth.ts";

/** People who go on talking through every node, each message with a key, and clients that follow them. */
export interface Traffic extends AsyncDisposable {
  /** How many messages were acknowledged so far. */
  readonly acknowledged: number;
  /** Ends the talking; then proves that the log has all of it once, and each client all of the log. */
  finish(sql: SQL): Promise<void>;
}

export interface TrafficOptions {
  readonly nodes: readonly ClusterNode[];
  readonly sessions: readonly string[];
  /** Where a message is sent, one after the other. Default: each in turn. */
  readonly through?: readonly Person[];
  /** Pause after an answer, ms. */
  readonly every_ms?: number;
}

export function startTraffic({ nodes, sessions, through, every_ms = 50 }: TrafficOptions): Traffic {
  const people = through ?? nodes.map(({ owner }) => owner);
  const watchers = new Map<string, Watcher[]>();
  let isOver = false;
  let acknowledged = 0;
  const said = new Map<string, string[]>();
  const watch = (node: ClusterNode, over: Transport, session_id: string): Watcher =>
    startWatcher({
      name: `${over} at ${node.name}: ${session_id}`,
      session_id,
      token: node.token,
      route: () => node.url,
      transport: () => over,
      start: over === "ws" ? "start" : "nothing",
    });
  const talk = async (session_id: string, at: number): Promise<void> => {
    for (let n = 0; !isOver; n++) {
      const content = `message ${n} in ${session_id}`;
      const turn = (at + n) % people.length;
      await sayUntilAnswered([...people.slice(turn), ...people.slice(0, turn)], session_id, content);
      said.get(session_id)?.push(content);
      acknowledged++;
      await Bun.sleep(every_ms);
    }
  };
  const begin = async (session_id: string, at: number): Promise<void> => {
    said.set(session_id, []);
    const [first] = people;
    await sayUntilAnswered([first as Person], session_id, `hello ${session_id}`);
    const all = nodes.map((node, n) => watch(node, (at + n) % 2 === 0 ? "ws" : "sse", session_id));
    watchers.set(session_id, all);
    await talk(session_id, at);
  };
  const talking = Promise.all(sessions.map(begin));
  talking.catch(() => undefined);
  return {
    get acknowledged() {
      return acknowledged;
    },
    async finish(sql) {
      isOver = true;
      await talking;
      await settled(sql);
      for (const [session_id, contents] of said) {
        const truth = await readTruth(sql, session_id);
        const wrong = contents.filter((content) => timesSaid(truth, content) !== 1);
        expect({ session_id, wrong }).toEqual({ session_id, wrong: [] });
        for (const watcher of watchers.get(session_id) ?? []) await expectTruth(truth, watcher);
      }
    },
    async [Symbol.asyncDispose]() {
      isOver = true;
      await Promise.all([...watchers.values()].flat().map((watcher) => watcher.stop()));
    },
  };
}
