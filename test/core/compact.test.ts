import { afterEach, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { StoreItem } from "../../src/core/operation.ts";
import type { ModelRequest } from "../../src/core/ports.ts";
import type { Store } from "../../src/core/store.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { TestEngine } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";

let running: TestEngine | null = null;
afterEach(async () => {
  expect(running?.fatal.error ?? null).toBeNull();
  await running?.close();
  running = null;
});

function says(item: StoreItem, content: string): boolean {
  return (
    item.kind === "append" && item.events.some(({ payload }) => payload.includes(`"content":"${content}"`))
  );
}

test("a message the store has and nobody knows of yet is not taken for one that was summarised", async () => {
  const inner = createMemoryStore({ clock: systemClock, limits: DEFAULT_LIMITS });
  const [reading, applied, answering] = [0, 1, 2].map(() => Promise.withResolvers<void>());
  let reads = 0;
  // Not bound: the writer has committed the group while its answer is on the way.
  const store: Store = {
    ...inner,
    async commit(group) {
      const result = await inner.commit(group);
      if (!group.some((item) => says(item, "late"))) return result;
      applied?.resolve();
      await answering?.promise;
      return result;
    },
    async context(...query) {
      if (++reads === 3) await reading?.promise;
      return inner.context(...query);
    },
  };
  const asked: ModelRequest[] = [];
  running = await startEngine({
    store,
    script: async function* (request) {
      asked.push(request);
      yield { type: "text", text: `answer ${asked.length}` };
      yield { type: "done", finish_reason: "stop" };
    },
  });
  const { engine } = running;
  const socket = running.connect();
  await socket.request("chat.send", { session_id: "s", message: "first" });
  await until(() => engine.runs.lanes.running === 0);
  await socket.request("session.compact", { session_id: "s" });
  await until(() => reads === 3);
  const late = socket.request("chat.send", { session_id: "s", message: "late" });
  await applied?.promise;
  reading?.resolve();
  await until(() => asked.length === 2);
  answering?.resolve();
  await late;
  await engine.runs.settled();
  expect(asked[1]?.messages.at(-1)?.content).not.toContain("late");
  expect(asked[2]?.messages.slice(1).map(({ content }) => content)).toEqual(["answer 2", "late"]);
});
