import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { LimitsSection } from "../../src/config/limits.ts";
import { GROUPS } from "../gateway/limit-groups.ts";

/** Reached by a test that has a shape of its own: where it is, and what it is called. */
const NAMED: Readonly<Record<string, readonly [file: string, test: string]>> = {
  frame_bytes: ["test/gateway/limit-closes.test.ts", "frame_bytes: a larger frame"],
  body_deadline_ms: ["test/hostile/half-open.test.ts", "408 after body_deadline_ms"],
  bad_frames_per_minute: ["test/gateway/limit-closes.test.ts", "bad_frames_per_minute: answered"],
  control_frames_per_second: ["test/gateway/limit-closes.test.ts", "control_frames_per_second: a flood"],
  mutations_per_second: [
    "test/gateway/limit-rates.test.ts",
    "so many at once on a socket, and one more a second",
  ],
  mutations_burst: ["test/gateway/limit-rates.test.ts", "so many at once on a socket, and one more a second"],
  mutations_over_ms: ["test/gateway/limit-rates.test.ts", "for mutations_over_ms is closed with 4029"],
  completed_inline_bytes: ["test/gateway/answers.test.ts", "an answer over 512 KiB"],
  upload_deadline_ms: ["test/hostile/uploads.test.ts", "408 after upload_deadline_ms"],
  shown_file_bytes: ["test/core/shown.test.ts", "of one that is long it is told how much is there"],
  shown_images: ["test/core/shown.test.ts", "the newest are shown while there is room"],
  upload_ttl_secs: ["test/adapter/store.attachments.ts", "named by several messages until it expires"],
  key_ttl_secs: ["test/adapter/store.keys.ts", "a key is free again after its time"],
  tombstone_ttl_secs: ["test/adapter/store.deletion.ts", "a tombstone answers for 30 days"],
  // Those that are out make room once they are too old.
  challenge_ttl_ms: ["test/gateway/limit-rows-devices.ts", "challenge_ttl_ms: 3_000"],
  pairing_ttl_secs: ["test/gateway/limit-rows-devices.ts", "pairing_ttl_secs: 2"],
  audit_rows: ["test/adapter/store.audit.ts", "past the bound the oldest of the user who has the most go"],
  audit_ttl_secs: ["test/adapter/store.audit.ts", "go after their time"],
  usage_models: ["test/adapter/store.usage.ts", "models past the bound of a day are counted together"],
  usage_ttl_secs: ["test/adapter/store.usage.ts", "days go after their time"],
  ticket_ttl_ms: ["test/gateway/tickets.test.ts", "too old, it is refused"],
  tail_events: ["test/core/tails.test.ts", "a session keeps the newest 2,000 events"],
  tail_bytes: ["test/core/tails.test.ts", "a session keeps the newest 2,000 events and 1 MiB of them"],
  tails_bytes: ["test/core/tails.test.ts", "tails weigh no more than their bound in all"],
  store_reads: ["test/core/snapshot-cache.test.ts", "only so many store reads are made"],
  far_events: ["test/gateway/subscribe.test.ts", "answers what its cursor is worth"],
  snapshot_bytes: ["test/gateway/limit-shapes.test.ts", "snapshot_bytes: a snapshot has"],
  snapshot_messages: ["test/gateway/limit-shapes.test.ts", "snapshot_messages: a snapshot has"],
  history_bytes: ["test/gateway/limit-shapes.test.ts", "history_bytes: a page has"],
  slow_soft_bytes: ["test/core/connection-heartbeat.test.ts", "more than 1 MiB buffered closes 4030"],
  slow_stuck_bytes: [
    "test/core/connection-heartbeat.test.ts",
    "more than 64 KiB that does not shrink for 15 s",
  ],
  slow_stuck_secs: [
    "test/core/connection-heartbeat.test.ts",
    "more than 64 KiB that does not shrink for 15 s",
  ],
  backpressure_bytes: ["test/process/slow-sockets.test.ts", "more at once than the fuse allows"],
  hooks_per_user: ["test/gateway/inbound-hooks-kept.test.ts", "hooks_per_user: one more is refused"],
  hook_calls_per_minute: [
    "test/gateway/inbound-hooks-kept.test.ts",
    "hook_calls_per_minute: one more is told",
  ],
  schedules_per_user: ["test/adapter/automation-scheduler.test.ts", "and one too many"],
  schedule_catch_up: ["test/adapter/automation-scheduler.test.ts", "schedule_catch_up: of many moments"],
  webhooks_per_user: ["test/gateway/webhooks.test.ts", "webhooks_per_user: one more is refused"],
  webhook_attempts: ["test/gateway/webhooks.test.ts", "webhook_attempts: after so many"],
  webhook_dead_letters: ["test/gateway/webhooks.test.ts", "webhook_dead_letters: the newest are kept"],
  hook_ms: ["test/core/hooks-failing.test.ts", "hook_ms: one that takes longer is out"],
  hook_backlog: [
    "test/core/hooks-failing.test.ts",
    "hook_backlog: an owner whose hooks are far behind is out",
  ],
  plugin_block_ms: [
    "test/process/plugin-spin.test.ts",
    "one that blocks for a while is named when it is over",
  ],
  plugin_spin_ms: ["test/process/plugin-spin.test.ts", "ends the process, which starts again without it"],
  delta_window_ms: ["test/core/writer.test.ts", "the next ones at the end of the window"],
  plugin_load_ms: ["test/adapter/plugin-load.test.ts", "is given up after plugin_load_ms"],
  plugin_call_ms: ["test/adapter/plugin-faults.test.ts", "does not settle within plugin_call_ms"],
  plugin_stream_ms: ["test/adapter/plugin-parts.test.ts", "says nothing for plugin_stream_ms"],
  delta_bytes: ["test/core/writer.test.ts", "4 KB do not wait for the window"],
};

/** Nobody is refused for these, and nothing that a test could see is cut off. */
const UNREFUSED: Readonly<Record<string, string>> = {
  catch_up_buffer_bytes:
    "a page of a replay waits for room in the reader's socket; test/process/slow.test.ts reads slowly",
};

const rows = GROUPS.flatMap((group) => group.rows.map(({ option }): string => option));

test("every option of [limits] is reached by a test, or stands here with the reason why not", () => {
  const known = new Set([...rows, ...Object.keys(NAMED), ...Object.keys(UNREFUSED)]);
  expect(Object.keys(LimitsSection.properties).filter((option) => !known.has(option))).toEqual([]);
});

test("by one of the three, and by a test that is there", () => {
  const options = [...new Set(rows), ...Object.keys(NAMED), ...Object.keys(UNREFUSED)];
  expect(options.toSorted()).toEqual([...new Set(options)].toSorted());
  const gateway = ["max_connections", "connection_timeout_secs"];
  expect(
    options.filter((option) => !(option in LimitsSection.properties) && !gateway.includes(option)),
  ).toEqual([]);
  for (const [option, [file, name]] of Object.entries(NAMED)) {
    const text = readFileSync(resolve(import.meta.dir, "../..", file), "utf8");
    expect([option, file, text.includes(name)]).toEqual([option, file, true]);
  }
});
