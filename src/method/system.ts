import type { Ledger } from "../core/ledger.ts";
import type { Configuration, ConfigurationState } from "../core/configuration.ts";
import type { PluginView } from "../core/plugins.ts";
import type { BackupState } from "../core/ports.ts";
import { isNearlyFull } from "../core/room.ts";
import { GatewayError } from "../protocol/errors.ts";
import { DURABLE, SIGNALS } from "../protocol/events.ts";
import type { EventDefinition } from "../protocol/events.ts";
import type { MethodDefinition } from "../protocol/methods.ts";
import { PROTOCOL_VERSION } from "../protocol/schema.ts";
import {
  connect,
  disconnect,
  heartbeat,
  systemDescribe,
  systemInfo,
  systemReload,
  systemStats,
  systemStatus,
} from "../protocol/api/system.ts";
import { clientMethods } from "./client.ts";
import type { MethodDeps } from "./deps.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

export interface SystemDeps extends MethodDeps {
  readonly name: string;
  readonly version: string;
  readonly capabilities: readonly string[];
  readonly plugins: () => readonly PluginView[];
  readonly configuration: Configuration;
  /** Null: the gateway makes none by itself. */
  readonly backup: () => BackupState | null;
  /** Why there is too little room on the disk; null: there is enough. */
  readonly lowDisk: () => string | null;
  readonly definitions: () => readonly MethodDefinition[];
  /** Seconds since start. */
  readonly uptime: () => number;
  readonly status: () => "healthy" | "degraded" | "draining";
}

export function systemMethods(deps: SystemDeps): MethodHandler[] {
  const { clock, name, version, capabilities } = deps;
  let described: { readonly of: readonly MethodDefinition[]; readonly text: string } | null = null;
  /** JSON text, made once as long as there are the same methods: it is long. */
  const description = (): string => {
    const of = deps.definitions();
    if (described?.of !== of) described = { of, text: JSON.stringify(describe(of)) };
    return described.text;
  };
  return [
    handle(connect, socketsOnly),
    handle(disconnect, socketsOnly),
    handle(heartbeat, () => ({ ts: clock.now() })),
    handle(systemInfo, () => ({
      name,
      version,
      protocol_version: PROTOCOL_VERSION,
      capabilities: [...capabilities],
    })),
    handle(systemStatus, () => statusOf(deps)),
    handle(systemReload, () => reload(deps.configuration)),
    handle(systemStats, () => stats(deps)),
    handle(systemDescribe, (_params, call) => {
      call.okText(description());
      return undefined;
    }),
    ...clientMethods(deps),
  ];
}

function socketsOnly(): never {
  throw new GatewayError("INVALID_REQUEST", "only as a frame on a socket", {
    details: { kind: "transport" },
  });
}

async function statusOf(deps: SystemDeps) {
  const refused = deps.journal.refused;
  const reason = refused?.reason ?? deps.lowDisk();
  const backup = deps.backup();
  // How full it is says nothing of whether it can be asked now.
  const room = await deps.store.room().catch(() => deps.maintenance.room.last);
  return {
    status: deps.status(),
    uptime: deps.uptime(),
    connections: deps.connections.size,
    runs: { active: deps.runs.lanes.running, queued: deps.runs.lanes.queued },
    memory_usage: memoryUsage(deps.clock.monotonic()),
    storage: {
      kind: deps.store.kind,
      ok: refused === null,
      ...(reason !== null && { reason }),
      ...(room !== null && { ...room, nearly_full: isNearlyFull(room) }),
    },
    ...(backup !== null && { backup }),
    providers: [...deps.router.states()],
    plugins: deps.plugins().map(({ name, state, reason }) => {
      return { name, state, ...(reason !== undefined && { reason }) };
    }),
    configuration: shown(deps.configuration.state()),
  };
}

function shown({ file, failure, restart_needed, ...state }: ConfigurationState) {
  return {
    ...state,
    restart_needed: [...restart_needed],
    ...(file !== null && { file }),
    ...(failure !== null && { failure }),
  };
}

function reload(configuration: Configuration) {
  try {
    const { changed, restart_needed } = configuration.reload();
    return { changed: [...changed], restart_needed: [...restart_needed] };
  } catch (cause) {
    const { failure } = configuration.state();
    throw new GatewayError("INVALID_REQUEST", failure?.reason ?? "the configuration cannot be read again", {
      details: { kind: "configuration" },
      cause,
    });
  }
}

/** Resident memory, read at most once a second: asking the kernel costs more than the rest of the answer. */
let memory = { at: Number.NEGATIVE_INFINITY, bytes: 0 };
function memoryUsage(now: number): number {
  if (now - memory.at > 1_000) memory = { at: now, bytes: process.memoryUsage.rss() };
  return memory.bytes;
}

async function stats(deps: SystemDeps) {
  const totals = await deps.store.totals();
  const { stats: counted, runs, connections, clock, ledger } = deps;
  return {
    uptime: deps.uptime(),
    connections: connections.size,
    requests_total: counted.requests_total,
    memory_usage: memoryUsage(clock.monotonic()),
    total_sessions: totals.sessions,
    active_runs: runs.lanes.running,
    queued_runs: runs.lanes.queued,
    messages_total: totals.messages,
    events_total: totals.events,
    errors: { ...counted.errors },
    limits: { ...counted.limits },
    throttled: counted.throttled,
    slow_consumers: counted.slow_consumers,
    ...tokensOf(ledger),
    plugin_faults: counted.plugin_faults,
  };
}

function tokensOf(ledger: Ledger) {
  const { cost, ...tokens } = ledger.totals();
  return { tokens, ...(cost !== undefined && { cost, currency: ledger.currency }) };
}

function describe(definitions: readonly MethodDefinition[]) {
  const events: EventDefinition[] = [...Object.values(DURABLE), ...Object.values(SIGNALS)];
  return {
    protocol_version: PROTOCOL_VERSION,
    methods: definitions.map((each) => ({
      name: each.name,
      scope: each.scope,
      doc: each.doc,
      idempotent: each.idempotent === true,
      aliases: [...(each.aliases ?? [])],
      params: each.params,
      result: each.result,
    })),
    events: events.map(({ type, scope, durable, doc, payload }) => ({ type, scope, durable, doc, payload })),
  };
}
