import { hostname } from "node:os";
import type { Access } from "./access.ts";
import { accepts, revoked } from "./access.ts";
import type { Config } from "./config.ts";
import { consoleFiles } from "./console-files.ts";
import { networkOf } from "./auth/address.ts";
import { acceptsTailscale } from "./config/tailscale.ts";
import type { Receive } from "./core/automation.ts";
import { newId } from "./core/id.ts";
import { viewOf } from "./core/live.ts";
import type { AddedRoute } from "./core/plugins.ts";
import type { Clock, Logger, ModelRouter } from "./core/ports.ts";
import { credentialFromHeader } from "./core/principal.ts";
import type { Engine } from "./engine.ts";
import type { Leaving } from "./leaving.ts";
import { DURABLE, SIGNALS } from "./protocol/events.ts";
import { readiness } from "./readiness.ts";
import type { LiveConfig } from "./settings.ts";
import { CONTENT_TYPES, expose } from "./telemetry/exposition.ts";
import type { Source } from "./telemetry/family.ts";
import type { TransportContext } from "./transport/context.ts";
import { StrangerBodies } from "./transport/stranger-bodies.ts";

export const NAME = "agentbus";
export const CAPABILITIES = [
  "chat",
  "sessions",
  "presence",
  "resume",
  "idempotency",
  "sse",
  "rest",
  "skills",
  "attachments",
];

export interface SurfaceParts {
  readonly engine: Engine;
  readonly access: Access;
  readonly settings: LiveConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly version: string;
  readonly router: ModelRouter;
  readonly plugins: { routes(): readonly AddedRoute[] };
  /** What is measured. */
  readonly families: Source;
  readonly receive: Receive;
  readonly leaving: Leaving;
}

/** What the transports are handed. */
export function surfaceOf(parts: SurfaceParts): TransportContext {
  const { engine, access, settings, clock, log, version, router, plugins, receive, families, leaving } =
    parts;
  const { changes, connections, followers, directory, hub, observers, registry, stats, presence } = engine;
  const { live, config } = settings;
  const { files, uptime, status, times } = engine;
  const alone = config.cluster.node_id || `${hostname()}-${newId("nod", clock.now()).slice(-6)}`;
  const options = viewOf(
    live.derive((next) => ({
      ...optionsOf(next),
      version,
      // Of one among several it is known once the store is open.
      get node_id() {
        return engine.nodes.name ?? alone;
      },
    })),
  );
  const { credentials, authenticator, challenger, doors } = access;
  return {
    options,
    limits: config.limits,
    strangers: new StrangerBodies(config.limits, networkOf),
    clock,
    log,
    dispatch: registry.dispatch,
    definitions: () => registry.definitions(),
    definition: (name) => registry.get(name),
    addedRoutes: () => plugins.routes(),
    receive,
    refuseChange: (caller) => registry.refuseChange(caller),
    events: [...Object.keys(DURABLE), ...Object.keys(SIGNALS)],
    authenticator,
    challenger,
    credential: readCredential,
    doors,
    connections,
    followers,
    directory,
    files,
    hub,
    console: consoleFiles(),
    uptime,
    status,
    times,
    ready: readiness({ engine, router, leaving }),
    metrics: config.metrics.enabled
      ? (format) => ({ type: CONTENT_TYPES[format], text: expose(families(), format) })
      : null,
    count: {
      limit: (option, asker) => stats.limit(option, asker),
      error: (error, asker) => stats.error(error, asker),
      slowConsumer: () => void stats.slow_consumers++,
    },
    onConnection: (connection, state) => {
      changes.connection(connection, state);
      presence.connection(connection, state);
      const type = `connection.${state}`;
      const { id: connection_id, client_id } = connection;
      const user = connection.principal?.user;
      observers.tell(type, () => ({
        type,
        ts: clock.now(),
        ...(user !== undefined && { user }),
        payload: { connection_id, client_id },
      }));
      const { principal } = connection;
      if (state !== "joined" || principal === null || credentials.isLive(principal)) return;
      // It ended while the connection was being let in.
      connection.close(revoked());
    },
  };
}

/** Null: there is none. */
const readCredential: TransportContext["credential"] = (header) => {
  if (header === null) return null;
  const read = credentialFromHeader(header);
  return read.ok ? read.credential : read.error;
};

function optionsOf(config: Config): Omit<TransportContext["options"], "version" | "node_id"> {
  return {
    name: NAME,
    sockets: config.gateway.enabled,
    public_url: config.server.public_url.replace(/\/+$/, ""),
    open: config.auth.mode === "none",
    tailnet: acceptsTailscale(config.auth),
    challenge: accepts(config.auth, "device"),
    password: accepts(config.auth, "password"),
    heartbeat_interval_secs: config.gateway.heartbeat_interval_secs,
    connection_timeout_secs: config.gateway.connection_timeout_secs,
    capabilities: CAPABILITIES,
  };
}
