import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { LimitGroup } from "./limit-rows.ts";
import { fresh, from, lastWords, refusedIn, refusedUpgrade } from "./limit-rows.ts";
import type { Stack } from "./stack.ts";
import { eventually } from "./stack.ts";

const FULL = { code: "UNAVAILABLE", kind: "connections" } as const;
/** Before there is a socket. */
const BEFORE = { ...FULL, status: 503, retry_after: "2" } as const;

/** Resolves when nothing but requests is left. */
async function empty({ owner }: Stack): Promise<unknown> {
  const connections = async (): Promise<number> => (await owner.call("system.status")).connections;
  return eventually(connections, (count) => count === 0);
}

/** Holds sockets open meanwhile. */
async function beside<T>(sockets: readonly Promise<TestSocket>[], work: () => Promise<T>): Promise<T> {
  const open = await Promise.all(sockets);
  try {
    return await work();
  } finally {
    await Promise.all(open.map((socket) => socket[Symbol.asyncDispose]()));
  }
}

function opens(stack: Stack, times: number, headers: Record<string, string>): Promise<TestSocket>[] {
  return Array.from({ length: times }, () => openSocket(stack.gateway.ws_url, { headers }));
}

async function answers(stack: Stack, headers: Record<string, string>): Promise<void> {
  await empty(stack);
  await using socket = await openSocket(stack.gateway.ws_url, { headers });
  await socket.request("connect", { auth_token: stack.owner.token });
}

export const DOORS: LimitGroup = {
  name: "doors",
  config: {
    server: { trusted_proxies: ["127.0.0.1"] },
    gateway: { max_connections: 8 },
    limits: { max_connections_per_user: 2, max_unauthenticated: 3, max_unauthenticated_per_address: 2 },
  },
  rows: [
    {
      option: "max_connections",
      value: 8,
      ways: {
        "by sockets, seen by a socket": {
          says: BEFORE,
          reach: (stack) =>
            beside(opens(stack, 8, stack.owner.bearer), () => refusedUpgrade(stack, stack.owner.bearer)),
        },
        "by sockets, seen by a stream": {
          says: BEFORE,
          reach: async (stack) => {
            await stack.owner.call("session.create", { session_id: "full" });
            return beside(opens(stack, 8, stack.owner.bearer), () =>
              refusedIn(stack.owner.ask("GET", "/api/v1/sessions/full/events")),
            );
          },
        },
      },
      again: (stack) => answers(stack, stack.owner.bearer),
    },
    {
      option: "max_connections_per_user",
      value: 2,
      ways: {
        "at the upgrade": {
          says: BEFORE,
          reach: async (stack) => {
            const { bearer } = await fresh(stack);
            return beside(opens(stack, 2, bearer), () => refusedUpgrade(stack, bearer));
          },
        },
        "with connect": {
          says: { ...FULL, close: 1013 },
          reach: async (stack) => {
            const { bearer, token } = await fresh(stack);
            return beside(opens(stack, 2, bearer), async () => {
              await using third = await openSocket(stack.gateway.ws_url);
              third.send({ type: "req", id: "h", method: "connect", params: { auth_token: token } });
              return await lastWords(third);
            });
          },
        },
        "by another token of the same user": {
          says: BEFORE,
          reach: async (stack) => {
            const { bearer } = await stack.guest({ user: "two", role: "user" });
            const other = await stack.guest({ user: "two", role: "viewer" });
            return beside(opens(stack, 2, bearer), () => refusedUpgrade(stack, other.bearer));
          },
        },
        "by streams": {
          says: BEFORE,
          reach: async (stack) => {
            const person = await fresh(stack);
            await person.call("session.create", { session_id: "s" });
            const path = "/api/v1/sessions/s/events";
            const streams = await Promise.all([person.events(path), person.events(path)]);
            for (const stream of streams) await stream.next();
            const reached = await refusedIn(person.ask("GET", path));
            for (const stream of streams) stream.close();
            return reached;
          },
        },
        "while an administrator of that name is bound by the total only": {
          says: BEFORE,
          reach: async (stack) => {
            const { bearer } = await stack.guest({ user: "owner", role: "user" });
            return beside(opens(stack, 4, stack.owner.bearer), () =>
              // Those of the administrator are not the user's.
              beside(opens(stack, 2, bearer), () => refusedUpgrade(stack, bearer)),
            );
          },
        },
      },
      async again(stack) {
        await empty(stack);
        const person = await fresh(stack);
        await beside(opens(stack, 2, person.bearer), async () => {
          // Others are not concerned.
          await using other = await (await fresh(stack)).connect();
          await other.request("heartbeat");
        });
      },
    },
    {
      option: "max_unauthenticated",
      value: 3,
      ways: {
        "from several addresses": {
          says: BEFORE,
          reach: (stack) =>
            beside([...opens(stack, 2, from("10.0.0.1")), ...opens(stack, 1, from("10.0.0.2"))], async () => {
              // A credential at the upgrade comes in all the same.
              await using known = await openSocket(stack.gateway.ws_url, {
                headers: { ...stack.owner.bearer, ...from("10.0.0.1") },
              });
              await known.request("heartbeat");
              return await refusedUpgrade(stack, from("10.0.0.3"));
            }),
        },
      },
      again: (stack) => answers(stack, from("10.0.0.3")),
    },
    {
      option: "max_unauthenticated_per_address",
      value: 2,
      ways: {
        "from one IPv4 address": {
          says: BEFORE,
          reach: (stack) =>
            beside(opens(stack, 2, from("10.0.0.1")), () => refusedUpgrade(stack, from("::ffff:10.0.0.1"))),
        },
        "from one /64": {
          says: BEFORE,
          reach: (stack) =>
            beside(
              [...opens(stack, 1, from("2001:db8::1")), ...opens(stack, 1, from("2001:db8::2"))],
              async () => {
                await using neighbour = await openSocket(stack.gateway.ws_url, {
                  headers: from("2001:db8:0:1::1"),
                });
                await neighbour.request("connect", { auth_token: stack.owner.token });
                return await refusedUpgrade(stack, from("2001:db8::ffff:1"));
              },
            ),
        },
      },
      again: (stack) => answers(stack, from("10.0.0.1")),
    },
  ],
};

export const TIMES: LimitGroup = {
  name: "time",
  config: {
    gateway: { connection_timeout_secs: 2, heartbeat_interval_secs: 30 },
    limits: { connect_deadline_ms: 1_500 },
  },
  rows: [
    {
      option: "connect_deadline_ms",
      value: 1_500,
      ways: {
        "by silence": {
          says: { code: "TIMEOUT", kind: null, close: 4008 },
          reach: async (stack) => {
            await using socket = await openSocket(stack.gateway.ws_url);
            return await lastWords(socket);
          },
        },
      },
      again: (stack) => answers(stack, {}),
    },
    {
      option: "connection_timeout_secs",
      value: 2,
      ways: {
        "by silence": {
          says: { code: "TIMEOUT", kind: null, close: 4008 },
          reach: async (stack) => {
            await using socket = await stack.owner.connect();
            return await lastWords(socket);
          },
        },
      },
      again: (stack) => answers(stack, stack.owner.bearer),
    },
  ],
};
