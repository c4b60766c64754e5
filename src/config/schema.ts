import type { Static } from "@sinclair/typebox";
import { Type } from "@sinclair/typebox";
import { LOG_COMPONENTS } from "../core/log-components.ts";
import type { Limits } from "../core/limits.ts";
import { RoleName } from "../protocol/api/auth.ts";
import { choice, integer, list, place, secret, text, toggle } from "./kinds.ts";
import { LimitsSection } from "./limits.ts";
import { BudgetsSection } from "./money.ts";
import { ProviderSection } from "./provider.ts";

/** Seconds in thirty days: the most that a time in seconds may be. */
const MONTH_SECS = 30 * 86_400;

/** Who a login of the tailnet is, by the login. */
function logins(description: string) {
  const grant = Type.Object({ user: Type.String(), role: RoleName });
  return Type.Record(Type.String(), grant, { default: {}, description, entries: ["user", "role"] });
}

/** `[mcp.servers.NAME]`: a command that is started, or the address of one that runs. */
const ToolServer = Type.Object({
  command: text("", "What to start; it is spoken to on its standard input and output."),
  args: list("Its arguments."),
  env: Type.Record(Type.String(), Type.String(), {
    default: {},
    description: "Its environment besides `PATH`, `HOME` and `LANG`; it inherits nothing else.",
    secret: true,
  }),
  url: text("", "Where a server is reached by streamable HTTP, in place of a command."),
  headers: Type.Record(Type.String(), Type.String(), {
    default: {},
    description: 'Headers sent with every request, as `{ Authorization = "Bearer …" }`.',
    secret: true,
  }),
});

/** Every option: its type, default and meaning. Whatever says something about options is made from this. */
export const ConfigSchema = Type.Object({
  server: Type.Object({
    host: text(
      "127.0.0.1",
      "Address to listen on; `localhost` is 127.0.0.1 and ::1, `0.0.0.0` every interface.",
      {
        minLength: 1,
      },
    ),
    port: integer(
      18_789,
      "Port of HTTP, SSE and WebSocket together; 0 picks one and prints it.",
      [0, 65_535],
    ),
    data_dir: place("Directory of the database and the local token.", {
      shown: "the user's data directory, `agentbus` in it",
    }),
    trusted_proxies: list("Addresses and CIDRs of proxies whose `X-Forwarded-*` headers count."),
    allowed_origins: list("Origins of web pages that may connect, besides our own."),
    public_url: text("", "What clients see behind a proxy, such as `https://bus.example.com`."),
    tls: Type.Object({
      mode: choice(
        ["", "auto"],
        "",
        "Empty: TLS is on when `cert` is set. `auto`: a self-signed certificate, kept in `<data_dir>/tls`.",
      ),
      cert: place("The certificate, a PEM file; its chain may follow it. Read again when it changes."),
      key: place("The key of the certificate, a PEM file."),
      client_ca: place(
        "Who connects needs a certificate of this authority, besides the credential. A PEM file.",
      ),
    }),
    shutdown_delay_secs: integer(
      0,
      "How long after the signal to stop everything is served as before while `/ready` says 503, so that a balancer sees it.",
      [0, 600],
    ),
    shutdown_grace_secs: integer(20, "How long runs may go on after the signal to stop.", [0, 3_600]),
  }),
  gateway: Type.Object({
    enabled: toggle(true, "WebSocket connections; without them upgrades answer 404, REST and SSE work."),
    bind: text("", "A second listener with the same surface, such as `127.0.0.1:18790`."),
    auth_token: secret("", "The same as `auth.token`: guards every listener and transport."),
    max_connections: integer(
      1_000,
      "Connections at once, WebSocket and SSE together, at each node.",
      [1, 1_000_000],
    ),
    connection_timeout_secs: integer(
      300,
      "A connection that says nothing for so long is closed.",
      [1, 86_400],
    ),
    heartbeat_interval_secs: integer(30, "How often a connection is sent a heartbeat.", [1, 86_400]),
  }),
  auth: Type.Object({
    mode: choice(
      ["token", "password", "device", "tailscale", "multi", "none"],
      "token",
      "Who may come in besides tokens: the `password`, a paired `device`, peers of the tailnet (`tailscale`), what `modes` lists, or (`none`) everybody, on loopback only.",
    ),
    modes: list("For `multi`: some of `token`, `password`, `device` and `tailscale`."),
    token: secret("", "An administrator's token. Without one, a token is generated into `<data_dir>/token`."),
    password: secret("", "The owner's password, for the modes that take one."),
    password_hash: secret("", "The same as a hash, which `agentbus password` makes."),
    allow_tailscale: toggle(false, "Peers of the tailnet come in, whatever `mode` says besides."),
    tailscale: Type.Object({
      socket: text(
        "/var/run/tailscale/tailscaled.sock",
        "The unix socket of tailscaled, which knows who a peer is.",
        {
          minLength: 1,
        },
      ),
      users: logins(
        'Who a login is: `"ada@example.com" = { user = "ada", role = "user" }`. Others do not come in by it.',
      ),
    }),
    session_ttl_secs: integer(86_400, "How long a login lasts.", [60, 365 * 86_400]),
  }),
  limits: LimitsSection,
  llm: Type.Object({
    default_provider: text(
      "",
      "Provider of runs that name none; empty: the first that can be used, else `demo`.",
    ),
    default_model: text("", "Model of runs that name none; empty: the provider's first."),
    fallback: list("Models such as `local/qwen`, asked in this order where one fails."),
    retry_deadline_secs: integer(
      300,
      "How long models have to begin an answer, all attempts and waits together; 0: no bound but the run's.",
      [0, MONTH_SECS],
    ),
    currency: text("USD", "Of every price: one for the gateway.", { minLength: 1 }),
    providers: Type.Record(Type.String(), ProviderSection, { default: {} }),
  }),
  budgets: BudgetsSection,
  agent: Type.Object({
    system_prompt: text("", "What every conversation begins with, unless its session has one of its own."),
    run_timeout_secs: integer(900, "Longest run.", [1, MONTH_SECS]),
    max_concurrent_runs: integer(64, "Runs at once; more wait.", [1, 10_000]),
    max_turns: integer(25, "Calls of the model in one run.", [1, 1_000]),
    max_tool_calls: integer(100, "Calls of tools in one run.", [0, 10_000]),
    max_tokens: integer(0, "Tokens a run may have used before it calls more tools; 0: no bound.", [
      0,
      Number.MAX_SAFE_INTEGER,
    ]),
    context_tokens: integer(
      0,
      "Past about so many tokens a conversation is summed up before it goes on; 0: only on request.",
      [0, Number.MAX_SAFE_INTEGER],
    ),
    on_busy: choice(
      ["queue", "steer", "interrupt", "reject"],
      "queue",
      "What a message does to a session that is still answering; `steer` puts it into the run that answers.",
    ),
  }),
  mcp: Type.Object({
    servers: Type.Record(Type.String(), ToolServer, { default: {} }),
  }),
  tools: Type.Object({
    builtin: list(
      "Built-in tools that exist, of `skill`, `skill_run`, `time`, `http_fetch`, `read_file` and `list_files`.",
      { value: ["skill"] },
    ),
    workspace: place("Directory whose files `read_file` and `list_files` show."),
    http_allow: list(
      "What `http_fetch` may reach besides the public internet: addresses, ranges, hosts, `*.domain`, each perhaps with a `:port`.",
    ),
    policy: Type.Record(Type.String(), Type.String(), {
      default: { "*": "ask", skill: "allow" },
      description:
        "What is done when a model calls a tool, by patterns of names: `allow`, `ask` or `deny`; the most specific counts.",
    }),
    unattended: choice(
      ["wait", "deny"],
      "wait",
      "What becomes of a call that asks while nobody is connected who may allow it.",
    ),
    mcp_json: toggle(
      false,
      "Tool servers of `./.mcp.json` (`mcpServers`) too; its commands are started with this user's rights.",
    ),
    approval_timeout_secs: integer(600, "How long a call waits for an answer.", [1, MONTH_SECS]),
    timeout_secs: integer(120, "Longest call of a tool.", [1, 3_600]),
  }),
  webhooks: Type.Object({
    allow: list(
      "What webhooks may reach besides the public internet: addresses, ranges, hosts, `*.domain`, each perhaps with a `:port`.",
    ),
  }),
  skills: Type.Object({
    directories: list(
      "More directories of skills, besides `./.agents/skills`, `./.claude/skills` and `<data_dir>/skills`. An earlier one wins; those of the working directory win over all, that of the data directory over none.",
      { place: true },
    ),
    auto_reload: toggle(true, "Changes of skills are noticed; without it they are read at `skill.reload`."),
  }),
  plugins: Type.Object({
    directories: list("More directories of plug-ins, besides `<data_dir>/plugins`.", { place: true }),
    auto_reload: toggle(
      true,
      "Changes of plug-ins are noticed; without it they are read at `plugin.reload`.",
    ),
  }),
  storage: Type.Object({
    url: secret(
      "",
      "Empty: SQLite in the data directory. `postgres://USER:PASSWORD@HOST/NAME`: that database, which several nodes may share.",
    ),
    connections: integer(10, "Connections to PostgreSQL, at the most.", [5, 1_000]),
    durability: choice(
      ["full", "normal"],
      "full",
      "What is acknowledged survives a loss of power (`full`) or a crash of the process (`normal`).",
    ),
    event_grace_secs: integer(600, "How long events of ended runs can be replayed.", [0, MONTH_SECS]),
    retention_days: integer(
      0,
      "A session is deleted when nothing has happened in it for so many days; 0: never.",
      [0, 36_500],
    ),
    storage_stall_secs: integer(30, "How long a run waits for storage that refuses writes.", [1, 3_600]),
    max_bytes: integer(
      0,
      "Largest database; from 90 % on room is made: events before their time, then archived sessions. 0: no bound.",
      [0, Number.MAX_SAFE_INTEGER],
    ),
    min_free_bytes: integer(
      64 * 1024 * 1024,
      "With less room on the disk of the data directory `/ready` says that the gateway is not, and its status is degraded.",
      [0, Number.MAX_SAFE_INTEGER],
    ),
  }),
  cluster: Type.Object({
    node_id: text("", "What this node is called among those that share a database.", {
      shown: "the host's name and a random part",
    }),
    lease_secs: integer(
      15,
      "How long a node that is not heard of counts as alive; then others take over what it had.",
      [6, 600],
    ),
    key_file: place(
      "A file with the key for the secrets of hooks and webhooks, the same on every node; empty: with PostgreSQL the key is in the database.",
    ),
  }),
  backup: Type.Object({
    directory: place(
      "Where the gateway puts backups of itself, while it runs; empty: it makes none. The directory has to be there.",
    ),
    interval_hours: integer(24, "How long after the newest backup the next one is made.", [1, 720]),
    keep: integer(7, "Backups that stay; older ones are removed.", [1, 10_000]),
  }),
  metrics: Type.Object({
    enabled: toggle(true, "`GET /metrics` for Prometheus, to credentials with the scope `system.read`."),
  }),
  telemetry: Type.Object({
    otlp_endpoint: text(
      "",
      "An OpenTelemetry collector that traces and metrics are sent to by HTTP, as `http://127.0.0.1:4318`; empty: none.",
    ),
    otlp_headers: secret("", "Headers it is sent, as `name=value,name=value`."),
    sample_percent: integer(
      100,
      "How many of the traces that begin here are sent; one that comes with `traceparent` says it itself.",
      [0, 100],
    ),
    metrics_interval_secs: integer(60, "How often metrics are sent there; 0: never.", [0, 86_400]),
  }),
  log: Type.Object({
    level: choice(["debug", "info", "warn", "error", "silent"], "info", "What is logged."),
    levels: Type.Record(Type.String(), Type.String(), {
      default: {},
      description: `The same of a part, as \`{ store = "debug" }\`, of ${LOG_COMPONENTS.map((each) => `\`${each}\``).join(", ")}.`,
    }),
    format: choice(
      ["auto", "json", "pretty"],
      "auto",
      "`auto`: pretty on a terminal, else one JSON object per line.",
    ),
    content: toggle(false, "Prompts and answers in the log."),
  }),
});

type Frozen<T> = T extends string | number | boolean
  ? T
  : T extends readonly (infer U)[]
    ? readonly U[]
    : { readonly [K in keyof T]: Frozen<T[K]> };

/** The whole configuration, with the names of the file. Frozen. Secrets are in it: print it with `showConfig` only. */
export type Config = Frozen<Omit<Static<typeof ConfigSchema>, "limits">> & { readonly limits: Limits };
