import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { Cluster } from "../../src/core/cluster.ts";
import { Feeds } from "../../src/core/feeds.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { SessionRow } from "../../src/core/operation.ts";
import { Tails } from "../../src/core/tails.ts";
import { silentLog } from "../support/engine.ts";
import { eventually } from "../gateway/stack.ts";

const SESSION = { id: "s", owner: "ann", name: null };
const ROW: SessionRow = {
  ...SESSION,
  epoch: "aaaaaaaa",
  title: "",
  metadata: "{}",
  archived: false,
  model: null,
  system_prompt: null,
  active_run_id: null,
  floor: 0,
  head: 0,
  created_at: 1,
  updated_at: 1,
  message_count: 0,
};

test("the tail of a log that another node writes is bounded as that of one that is written here", async () => {
  const payload = JSON.stringify("x".repeat(1_000));
  const head = 5_000;
  const page: Cluster["page"] = async (_id, after) => ({
    epoch: ROW.epoch,
    floor: 0,
    head,
    events: Array.from({ length: Math.min(512, head - after) }, (_, at) => ({
      seq: after + 1 + at,
      ts: 1,
      type: "app.x",
      run_id: null,
      payload,
    })),
  });
  const cluster = { page, onGrown: () => () => undefined, heads: async () => [] } as unknown as Cluster;
  const limits = { ...DEFAULT_LIMITS, tail_bytes: 100_000 };
  const feeds = new Feeds({
    cluster,
    clock: systemClock,
    log: silentLog,
    publish: () => undefined,
  });
  const shared = {
    feeds,
    read: async () => ({ session: ROW, open: [], approvals: [] }),
    left: async () => undefined,
    dropped: () => undefined,
    lost: () => undefined,
  };
  const tails = new Tails(
    limits,
    {
      load: (_session, { settle }) => settle({ ok: false, reason: "elsewhere" }),
      elsewhere: () => undefined,
    },
    shared,
  );
  const tail = await tails.pin(SESSION);
  await eventually(
    () => tail.head,
    (at) => at === head,
  );
  expect(tail.bytes).toBeLessThanOrEqual(limits.tail_bytes);
  expect(tail.bytes).toBeGreaterThan(0);
  expect(tails.bytes).toBe(tail.bytes);
  tails.release(SESSION.id);
  feeds.close();
});
