import type { Static } from "@sinclair/typebox";
import { Type } from "@sinclair/typebox";
import { DEFAULT_LIMITS } from "../core/limits.ts";

/** The bounds a deployment may change; the others of DEFAULT_LIMITS are part of how delivery works. */
const MEANING = {
  max_connections_per_user:
    "Connections of one user, at each node; those with the scope `admin` are bound by the total only.",
  max_connections_per_device:
    "Connections of one device, at each node, those of the logins it made among them.",
  max_unauthenticated:
    "Connections that have not said who they are; never more than half of `gateway.max_connections`.",
  max_unauthenticated_per_address: "The same, per address.",
  unauthenticated_bytes:
    "Bodies that are being received over REST of those who have not said who they are, in bytes; one fits in any case.",
  unauthenticated_bytes_per_address: "The same, per address.",
  connect_deadline_ms: "Time for a connection to say who it is.",
  connect_bytes: "Largest frame before that.",
  frame_bytes: "Largest frame.",
  body_bytes: "Largest body of a REST call.",
  body_deadline_ms: "Time for a body to arrive.",
  upload_deadline_ms: "Time for a file to arrive.",
  in_flight: "Requests at once on one connection.",
  waits_in_flight: "`run.wait` requests at once on one connection.",
  json_depth: "Levels of JSON in a frame or a body.",
  bad_frames_per_minute: "Frames that cannot be read, before the connection is closed.",
  control_frames_per_second: "Pings and pongs of one connection, before it is closed.",
  mutations_per_second:
    "Requests that change something, on one connection; over REST by one credential at one address.",
  mutations_burst: "So many at once; they are earned back at that rate.",
  mutations_over_ms: "Who is too fast for so long without heeding `retry_after_ms` is closed.",
  message_bytes: "Largest message of a user.",
  assistant_bytes: "Largest answer of a model; a longer one ends its run.",
  title_chars: "Longest title of a session.",
  metadata_bytes: "Largest metadata of a session or message.",
  system_prompt_bytes: "Largest system prompt.",
  broadcast_bytes: "Largest payload of a broadcast.",
  attachment_bytes: "Largest file.",
  attachment_pixels: "Largest image, width times height.",
  shown_file_bytes: "A model is shown so much of a text file.",
  shown_images: "A model is shown so many images of a conversation, the newest.",
  completed_inline_bytes: "A longer message is read from the history at its end, not sent again.",
  subscriptions: "Sessions one connection may follow.",
  queued_runs: "Runs that may wait in one session.",
  sessions_per_user: "Sessions of one user.",
  messages_per_session: "Messages in one session.",
  keys_per_user: "Idempotency keys remembered for one user.",
  attachments_per_message: "Files of one message.",
  attachments_per_user: "Files of one user: of the messages in sessions of theirs, and uploads.",
  attachment_bytes_per_user: "The same, in bytes; one content counts once.",
  upload_ttl_secs: "How long a file that no message names is kept.",
  uploads: "Files that are being received at once.",
  uploads_per_user: "The same, of one user.",
  downloads_per_user: "Files that are being sent to one user at once.",
  key_ttl_secs: "How long an idempotency key is remembered.",
  tombstone_ttl_secs: "How long the name of a deleted session is remembered.",
  audit_rows: "Entries of the audit trail; past it the oldest of the user who has the most go.",
  audit_ttl_secs: "How long an entry of the audit trail is kept.",
  usage_models:
    "Models that are accounted by name, of one user or session and day; further ones together, as `other`.",
  usage_ttl_secs: "How long it is kept what was used on a day.",
  tickets: "Unused tickets at once.",
  tickets_per_user: "The same, of one user.",
  ticket_ttl_ms: "How long a ticket can be used.",
  challenges: "Unused challenges for logins of devices over REST at once.",
  challenges_per_address: "The same, per address.",
  challenge_ttl_ms: "How long a challenge can be signed, on a socket too.",
  pairing_requests: "Devices that wait to be paired at once.",
  pairing_requests_per_address: "The same, per address.",
  pairing_ttl_secs: "How long a device waits to be paired before its code ends.",
  tail_events: "Recent events of one session kept in memory.",
  tail_bytes: "The same, in bytes.",
  tails_bytes: "Recent events of all sessions kept in memory.",
  journal_queue_bytes: "Writes waiting for storage; past it commands are refused until there is room.",
  catch_up_buffer_bytes: "What may wait in a reader's socket before the next page of a replay.",
  store_reads: "Reads for readers at once.",
  far_events: "A reader further behind than this is offered a snapshot.",
  snapshot_bytes: "Largest snapshot.",
  snapshot_messages: "Messages in a snapshot.",
  history_bytes: "Largest page of a history.",
  slow_soft_bytes:
    "A reader with more than this waiting in its socket is too slow: it is closed and comes back.",
  slow_stuck_bytes: "A reader whose socket never has less than this waiting is stuck.",
  slow_stuck_secs: "How long a stuck reader is kept.",
  backpressure_bytes: "A socket with more than this waiting is closed at once.",
  hook_ms: "Time for a hook of a plug-in to settle; a plug-in that takes longer is unloaded.",
  hook_backlog: "Calls of its hooks that may wait for a plug-in; past it, it is unloaded.",
  hooks_per_user: "Hooks (`hook.create`) of one user, by which others deliver messages.",
  hook_calls_per_minute: "Deliveries one of them takes in a minute, and at once.",
  schedules_per_user: "Schedules (`schedule.create`) of one user.",
  schedule_catch_up: "Moments a schedule that catches up with `all` of them makes up for, the newest.",
  webhooks_per_user: "Webhooks (`webhook.create`) of one user.",
  webhook_attempts: "How often a delivery is tried before it is given up.",
  webhook_dead_letters:
    "Deliveries of one webhook that were given up and are kept; past it the oldest are lost.",
  plugin_load_ms: "Time for a plug-in to be loaded, and again to be set up.",
  plugin_call_ms:
    "Time for a method, a route or a listener of a plug-in to settle; one that does not gets it unloaded.",
  plugin_block_ms:
    "A plug-in that lets nothing else happen for so long is reported, and not loaded at the next start until it changes.",
  plugin_spin_ms:
    "When nothing has happened for so long while there are plug-ins, the process is ended, to be started again.",
  plugin_stream_ms: "Longest silence of a provider of a plug-in; a longer one gets it unloaded.",
  delta_window_ms: "Deltas of an answer are gathered for so long.",
  delta_bytes: "A delta of so much leaves at once.",
} as const satisfies { [K in keyof typeof DEFAULT_LIMITS]?: string };

type LimitKey = keyof typeof MEANING;

/** Where more than this would break something: what reads JSON goes down as deep as it nests. */
const MOST: { readonly [K in LimitKey]?: number } = { json_depth: 256 };

const properties = Object.fromEntries(
  Object.entries(MEANING).map(([key, description]) => [
    key,
    Type.Integer({
      default: DEFAULT_LIMITS[key as LimitKey],
      description,
      minimum: 1,
      maximum: MOST[key as LimitKey] ?? Number.MAX_SAFE_INTEGER,
    }),
  ]),
) as Record<LimitKey, ReturnType<typeof Type.Integer>>;

/** `[limits]`. What is not said keeps its default; relations between them are checked at the end. */
export const LimitsSection = Type.Object(properties);
export type LimitsSection = Static<typeof LimitsSection>;
