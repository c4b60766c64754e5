/** Options that count as soon as they are read again, and sections (with a dot at the end) whose options do. */
const RELOADED = [
  "server.trusted_proxies",
  "server.allowed_origins",
  "server.public_url",
  "server.tls.cert",
  "server.tls.key",
  "server.tls.client_ca",
  "server.shutdown_delay_secs",
  "server.shutdown_grace_secs",
  "gateway.enabled",
  "gateway.auth_token",
  "gateway.max_connections",
  "gateway.connection_timeout_secs",
  "gateway.heartbeat_interval_secs",
  "auth.token",
  "auth.password",
  "auth.password_hash",
  "auth.tailscale.users",
  "auth.session_ttl_secs",
  "limits.",
  "llm.",
  "budgets.",
  "agent.",
  "mcp.",
  "tools.",
  "webhooks.",
  "storage.event_grace_secs",
  "storage.retention_days",
  "storage.storage_stall_secs",
  "storage.min_free_bytes",
  "log.",
] as const;

/** What is in those sections and yet counts from the next start on. */
const AT_START = [
  // Sockets are opened with them.
  "limits.frame_bytes",
  "limits.backpressure_bytes",
  // What was spent is a sum.
  "llm.currency",
];

/** Whether another value of an option counts without a restart. */
export function reloads(path: string): boolean {
  if (AT_START.includes(path)) return false;
  return RELOADED.some((each) => (each.endsWith(".") ? path.startsWith(each) : path === each));
}
