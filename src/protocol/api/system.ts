import { Type } from "@sinclair/typebox";
import { PluginState } from "./plugin.ts";
import { defineMethod } from "../methods.ts";
import { Empty, Params, Timestamp } from "../schema.ts";
import { DeviceProof } from "./device.ts";

const connectParams = Type.Object(
  {
    client_id: Type.Optional(Type.String({ maxLength: 128 })),
    client_name: Type.Optional(Type.String({ maxLength: 128 })),
    version: Type.Optional(Type.String({ maxLength: 64 })),
    platform: Type.Optional(Type.String({ maxLength: 64 })),
    capabilities: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 64 })),
    auth_token: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
    password: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
    device: Type.Optional(DeviceProof),
    session_token: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
    protocol: Type.Optional(
      Type.Object({ min: Type.Integer({ minimum: 0 }), max: Type.Integer({ minimum: 0 }) }),
    ),
  },
  // The one place where unknown fields are ignored: a newer client must be able to say hello.
  { additionalProperties: true },
);

export const connect = defineMethod({
  name: "connect",
  scope: null,
  doc: "The first request on a socket: who is calling, and with which credential.",
  params: connectParams,
  result: Type.Object({
    server_info: Type.Object({
      name: Type.String(),
      version: Type.String(),
      protocol_version: Type.Integer(),
      node_id: Type.String({
        description: "what the node is called (cluster.node_id), as in lists of connections",
      }),
      connection_id: Type.String(),
    }),
    capabilities: Type.Array(Type.String()),
    features: Type.Object({ methods: Type.Array(Type.String()), events: Type.Array(Type.String()) }),
    policy: Type.Record(Type.String(), Type.Unknown()),
    auth_info: Type.Object({
      user: Type.String(),
      method: Type.String(),
      scopes: Type.Array(Type.String()),
      session_token: Type.Optional(Type.String()),
      expires_at: Type.Optional(Timestamp),
    }),
  }),
});

export const disconnect = defineMethod({
  name: "disconnect",
  scope: null,
  doc: "Answers, then closes the socket with 1000.",
  params: Empty,
  result: Empty,
});

export const heartbeat = defineMethod({
  name: "heartbeat",
  scope: null,
  doc: "Answers the gateway's time.",
  params: Empty,
  result: Type.Object({ ts: Timestamp }),
});

const OptionNames = Type.Array(Type.String(), {
  description: "options whose value in the configuration counts from the next start on",
});

export const systemInfo = defineMethod({
  name: "system.info",
  scope: null,
  doc: "Name, version and what this gateway can do.",
  params: Empty,
  result: Type.Object({
    name: Type.String(),
    version: Type.String(),
    protocol_version: Type.Integer(),
    capabilities: Type.Array(Type.String()),
  }),
});

export const systemStatus = defineMethod({
  name: "system.status",
  scope: "system.read",
  doc: "How the gateway is.",
  params: Empty,
  result: Type.Object({
    status: Type.Union([Type.Literal("healthy"), Type.Literal("degraded"), Type.Literal("draining")]),
    uptime: Type.Number({ description: "seconds" }),
    connections: Type.Integer(),
    runs: Type.Object({ active: Type.Integer(), queued: Type.Integer() }),
    memory_usage: Type.Integer({ description: "bytes" }),
    storage: Type.Object({
      kind: Type.String(),
      ok: Type.Boolean({ description: "it takes what is written" }),
      reason: Type.Optional(
        Type.String({ description: "why it does not, or why it soon may not: its disk has too little room" }),
      ),
      used_bytes: Type.Optional(
        Type.Integer({ description: "with max_bytes: where storage.max_bytes bounds the database" }),
      ),
      max_bytes: Type.Optional(Type.Integer()),
      nearly_full: Type.Optional(Type.Boolean({ description: "four fifths of max_bytes or more are used" })),
    }),
    backup: Type.Optional(
      Type.Object(
        {
          last_at: Type.Optional(Timestamp),
          failed_at: Type.Optional(Timestamp),
          reason: Type.Optional(Type.String()),
          next_at: Timestamp,
        },
        { description: "where the gateway backs itself up; failed_at and reason: the last attempt failed" },
      ),
    ),
    providers: Type.Array(
      Type.Object({ name: Type.String(), ready: Type.Boolean(), reason: Type.Optional(Type.String()) }),
    ),
    plugins: Type.Array(
      Type.Object({ name: Type.String(), state: PluginState, reason: Type.Optional(Type.String()) }),
    ),
    configuration: Type.Object({
      file: Type.Optional(Type.String({ description: "absent: it came from none" })),
      loaded_at: Timestamp,
      hash: Type.String({ description: "another one with every value but secrets" }),
      restart_needed: OptionNames,
      failure: Type.Optional(
        Type.Object(
          { at: Timestamp, reason: Type.String() },
          { description: "it was read again and cannot be used; what counted before still does" },
        ),
      ),
    }),
  }),
});

export const systemReload = defineMethod({
  name: "system.reload",
  scope: "admin",
  mutates: true,
  doc: "Reads the configuration again, without waiting for a change to be noticed. One that cannot be used changes nothing.",
  audit: () => ({}),
  params: Empty,
  result: Type.Object({
    changed: Type.Array(Type.String(), { description: "options that have another value now" }),
    restart_needed: OptionNames,
  }),
});

export const systemStats = defineMethod({
  name: "system.stats",
  scope: "system.read",
  doc: "Counters since start; as GET /api/v1/stats.",
  params: Empty,
  result: Type.Object({
    uptime: Type.Number({ description: "seconds" }),
    connections: Type.Integer(),
    requests_total: Type.Integer(),
    memory_usage: Type.Integer({ description: "bytes" }),
    total_sessions: Type.Integer(),
    active_runs: Type.Integer(),
    queued_runs: Type.Integer(),
    messages_total: Type.Integer(),
    events_total: Type.Integer(),
    errors: Type.Record(Type.String(), Type.Integer()),
    limits: Type.Record(Type.String(), Type.Integer(), { description: "how often each limit was reached" }),
    throttled: Type.Integer(),
    slow_consumers: Type.Integer(),
    tokens: Type.Object(
      {
        input: Type.Integer(),
        output: Type.Integer(),
        cached: Type.Integer({ description: "of the input" }),
        reasoning: Type.Integer({ description: "of the output" }),
        calls: Type.Integer({ description: "of models" }),
        unknown_calls: Type.Integer({ description: "of these, whose provider told no usage" }),
      },
      { description: "since start" },
    ),
    cost: Type.Optional(
      Type.Integer({ description: "since start, in 1e-9 of the currency; absent without a price" }),
    ),
    currency: Type.Optional(Type.String()),
    plugin_faults: Type.Integer({ description: "how often a plug-in failed and was unloaded" }),
  }),
});

export const systemDescribe = defineMethod({
  name: "system.describe",
  scope: null,
  doc: "Every method and event that exists, with its JSON Schema.",
  params: Empty,
  result: Type.Object({
    protocol_version: Type.Integer(),
    methods: Type.Array(
      Type.Object({
        name: Type.String(),
        scope: Type.Union([Type.String(), Type.Null()]),
        doc: Type.String(),
        idempotent: Type.Boolean(),
        aliases: Type.Array(Type.String()),
        params: Type.Unknown(),
        result: Type.Unknown(),
      }),
    ),
    events: Type.Array(
      Type.Object({
        type: Type.String(),
        scope: Type.Union([Type.String(), Type.Null()]),
        durable: Type.Boolean(),
        doc: Type.String(),
        payload: Type.Unknown(),
      }),
    ),
  }),
});

export const clientList = defineMethod({
  name: "client.list",
  scope: "clients.manage",
  doc: "Every connection, at whichever node; `incomplete`: one that lives did not answer within a second.",
  params: Empty,
  result: Type.Object({
    clients: Type.Array(
      Type.Object({
        connection_id: Type.String(),
        client_id: Type.String(),
        client_name: Type.String(),
        version: Type.String(),
        platform: Type.String(),
        capabilities: Type.Array(Type.String()),
        user: Type.String(),
        transport: Type.String(),
        remote: Type.String(),
        state: Type.String(),
        connected_at: Timestamp,
        last_activity: Timestamp,
        node: Type.Optional(Type.String({ description: "The node it is at, where there may be several." })),
      }),
    ),
    incomplete: Type.Optional(Type.Boolean()),
  }),
});

export const clientDisconnect = defineMethod({
  name: "client.disconnect",
  scope: "clients.manage",
  mutates: true,
  doc: "Closes a connection, at whichever node (4003: it does not come back by itself).",
  audit: ({ connection_id }) => ({ target: connection_id }),
  params: Params({
    connection_id: Type.String({ maxLength: 128 }),
    reason: Type.Optional(Type.String({ maxLength: 100 })),
  }),
  result: Type.Object({ disconnected: Type.Boolean(), incomplete: Type.Optional(Type.Boolean()) }),
});
