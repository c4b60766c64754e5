const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * Every bound of the gateway, unit last in the name. Those a deployment may change are options of the `[limits]`
 * section under the same name; the others follow from them and are asserted below.
 */
export const DEFAULT_LIMITS = {
  // doors
  max_connections: 1_000,
  max_connections_per_user: 200,
  max_connections_per_device: 20,
  max_unauthenticated: 256,
  max_unauthenticated_per_address: 8,
  unauthenticated_bytes: 128 * MIB,
  unauthenticated_bytes_per_address: 32 * MIB,
  connect_deadline_ms: 5_000,
  connect_bytes: 8 * KIB,
  frame_bytes: 256 * KIB,
  body_bytes: 1 * MIB,
  body_deadline_ms: 30_000,
  upload_deadline_ms: 120_000,
  in_flight: 16,
  waits_in_flight: 32,
  json_depth: 32,
  bad_frames_per_minute: 30,
  control_frames_per_second: 500,
  mutations_per_second: 50,
  mutations_burst: 100,
  mutations_over_ms: 10_000,
  // what may be said
  message_bytes: 128 * KIB,
  assistant_bytes: 512 * KIB,
  tool_result_bytes: 64 * KIB,
  fetch_ms: 30_000,
  fetch_bytes: 1 * MIB,
  fetch_redirects: 5,
  file_bytes: 64 * MIB,
  listed_entries: 1_000,
  visited_entries: 20_000,
  metadata_bytes: 8 * KIB,
  title_chars: 200,
  system_prompt_bytes: 64 * KIB,
  broadcast_bytes: 16 * KIB,
  attachment_bytes: 8 * MIB,
  attachment_pixels: 50_000_000,
  attachment_piece_bytes: 256 * KIB,
  shown_file_bytes: 64 * KIB,
  shown_files_bytes: 1 * MIB,
  shown_images: 16,
  shown_images_bytes: 16 * MIB,
  completed_inline_bytes: 128 * KIB,
  // how much of it
  subscriptions: 128,
  queued_runs: 16,
  sessions_per_user: 10_000,
  messages_per_session: 100_000,
  keys_per_user: 100_000,
  attachments_per_message: 8,
  attachments_per_user: 10_000,
  attachment_bytes_per_user: 1024 * MIB,
  upload_ttl_secs: 3_600,
  uploads: 64,
  uploads_per_user: 8,
  downloads_per_user: 32,
  key_ttl_secs: 86_400,
  tombstone_ttl_secs: 30 * 86_400,
  audit_rows: 100_000,
  audit_ttl_secs: 90 * 86_400,
  usage_models: 100,
  usage_ttl_secs: 400 * 86_400,
  tickets: 10_000,
  tickets_per_user: 1_000,
  ticket_ttl_ms: 30_000,
  challenges: 10_000,
  challenges_per_address: 64,
  challenge_ttl_ms: 30_000,
  pairing_requests: 64,
  pairing_requests_per_address: 4,
  pairing_ttl_secs: 600,
  // the log
  tail_events: 2_000,
  tail_bytes: 1 * MIB,
  tails_bytes: 64 * MIB,
  tails_idle: 1_000,
  group_operations: 512,
  group_bytes: 1 * MIB,
  journal_queue_bytes: 8 * MIB,
  maintenance_rows: 2_000,
  writer_silence_ms: 30_000,
  storage_retry_min_ms: 100,
  storage_retry_max_ms: 2_000,
  run_held_bytes: 256 * KIB,
  // readers
  page_events: 512,
  page_bytes: 64 * KIB,
  catch_up_buffer_bytes: 64 * KIB,
  store_reads: 32,
  far_events: 2_000,
  snapshot_bytes: 256 * KIB,
  snapshot_messages: 200,
  history_bytes: 256 * KIB,
  slow_soft_bytes: 1 * MIB,
  slow_stuck_bytes: 64 * KIB,
  slow_stuck_secs: 15,
  backpressure_bytes: 4 * MIB,
  pause_ms: 2_000,
  // skills
  skills: 1_000,
  skill_entries: 2_000,
  skill_bytes: 256 * KIB,
  skills_bytes: 32 * MIB,
  skill_files: 200,
  skill_prompt_bytes: 16 * KIB,
  script_output_bytes: 1 * MIB,
  scripts: 16,
  // hooks
  hook_ms: 5_000,
  hook_backlog: 1_000,
  // what comes in by itself
  hooks_per_user: 100,
  hook_calls_per_minute: 120,
  schedules_per_user: 100,
  schedule_catch_up: 24,
  webhooks_per_user: 20,
  webhook_attempts: 12,
  webhook_dead_letters: 500,
  // plug-ins
  plugins: 100,
  plugin_files: 500,
  plugin_bytes: 4 * MIB,
  plugin_load_ms: 10_000,
  plugin_call_ms: 30_000,
  plugin_stream_ms: 120_000,
  plugin_grace_ms: 1_000,
  plugin_block_ms: 1_000,
  plugin_spin_ms: 15_000,
  // deltas
  delta_window_ms: 25,
  delta_bytes: 4 * KIB,
} as const;

export type Limits = { readonly [K in keyof typeof DEFAULT_LIMITS]: number };

/** Relations between bounds that delivery depends on. Throws where one does not hold, naming both sides. */
export function assertLimits(limits: Limits): Limits {
  const relations: [boolean, string][] = [
    [
      limits.snapshot_bytes + limits.page_bytes <= limits.slow_soft_bytes,
      "snapshot_bytes + page_bytes <= slow_soft_bytes",
    ],
    [2 * limits.slow_soft_bytes <= limits.backpressure_bytes, "2 * slow_soft_bytes <= backpressure_bytes"],
    [limits.message_bytes < limits.frame_bytes, "message_bytes < frame_bytes"],
    [limits.message_bytes < limits.body_bytes, "message_bytes < body_bytes"],
    [limits.tail_bytes <= limits.tails_bytes, "tail_bytes <= tails_bytes"],
    [limits.completed_inline_bytes <= limits.assistant_bytes, "completed_inline_bytes <= assistant_bytes"],
    [limits.delta_bytes < limits.run_held_bytes, "delta_bytes < run_held_bytes"],
    // The event loop tells that it turns every 50 ms.
    [200 <= limits.plugin_block_ms, "200 <= plugin_block_ms"],
    [limits.plugin_block_ms < limits.plugin_spin_ms, "plugin_block_ms < plugin_spin_ms"],
    [limits.connect_bytes <= limits.frame_bytes, "connect_bytes <= frame_bytes"],
  ];
  for (const [holds, text] of relations) {
    if (!holds) throw new Error(`limits: ${text} does not hold; raise the right side or lower the left`);
  }
  return limits;
}
