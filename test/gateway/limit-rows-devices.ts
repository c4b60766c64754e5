import type { TestDevice } from "../support/device.ts";
import { connectDevice, newDevice } from "../support/device.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, RefusedRequest } from "../support/ws-client.ts";
import type { LimitGroup, Reached } from "./limit-rows.ts";
import { fresh, from, lastWords, refusedIn } from "./limit-rows.ts";
import type { Answer, Stack } from "./stack.ts";
import { ask, eventually } from "./stack.ts";

/** A device of somebody who has nothing else. */
async function admitted(stack: Stack): Promise<TestDevice> {
  const { bearer } = await fresh(stack, "operator");
  const device = newDevice();
  const { user } = (
    await ask(`${stack.gateway.url}/api/v1/rpc/auth_session.create`, "POST", { body: {}, headers: bearer })
  ).json;
  await stack.owner.call("device.register", { public_key: device.public_key, user, scopes: ["chat.read"] });
  return device;
}

function open(stack: Stack, headers: Record<string, string> = {}): Promise<TestSocket> {
  return openSocket(stack.gateway.ws_url, { headers });
}

/** Sockets of a device, as many as it may have. */
async function twoOf(stack: Stack, device: TestDevice): Promise<TestSocket[]> {
  const sockets = [await open(stack), await open(stack)];
  for (const socket of sockets) await connectDevice(socket, device);
  return sockets;
}

async function over(sockets: readonly TestSocket[], work: () => Promise<Reached>): Promise<Reached> {
  try {
    return await work();
  } finally {
    for (const socket of sockets) await socket[Symbol.asyncDispose]();
  }
}

function challenge(stack: Stack, address: string): Promise<Answer> {
  return ask(`${stack.gateway.url}/api/v1/challenges`, "POST", { headers: from(address) });
}

/** Asks to be paired; what it is told in place of a code, else null. */
async function askFrom(stack: Stack, address: string): Promise<Reached | null> {
  await using socket = await open(stack, from(address));
  const refused = await connectDevice(socket, newDevice()).catch((error: unknown) => error);
  if (refused instanceof RefusedRequest && refused.code === "RATE_LIMITED") return await lastWords(socket);
  return null;
}

/** Does it from one address after the other, until it is refused with that option. */
async function until(what: string, work: (address: string) => Promise<Reached | null>): Promise<Reached> {
  for (let i = 1; i < 20; i++) {
    const reached = await work(`10.3.0.${i}`);
    if (reached?.error.details?.["what"] === what) return reached;
  }
  throw new Error(`${what} was not reached`);
}

const NO_CHALLENGE = { code: "RATE_LIMITED", kind: "challenges", status: 429 } as const;
const NO_PAIRING = { code: "RATE_LIMITED", kind: "pairing", close: 4029 } as const;

export const DEVICES: LimitGroup = {
  name: "devices",
  config: {
    auth: { mode: "device" },
    server: { trusted_proxies: ["127.0.0.1"] },
    limits: {
      max_connections_per_device: 2,
      challenges: 4,
      challenges_per_address: 2,
      challenge_ttl_ms: 3_000,
      pairing_requests: 3,
      pairing_requests_per_address: 1,
      pairing_ttl_secs: 2,
    },
  },
  rows: [
    {
      option: "max_connections_per_device",
      value: 2,
      ways: {
        "by its key": {
          says: { code: "UNAVAILABLE", kind: "connections", close: 1013 },
          reach: async (stack) => {
            const device = await admitted(stack);
            return over(await twoOf(stack, device), async () => {
              await using third = await open(stack);
              await connectDevice(third, device).catch(() => undefined);
              return await lastWords(third);
            });
          },
        },
        "by a login it made": {
          says: { code: "UNAVAILABLE", kind: "connections", status: 503, retry_after: "2" },
          reach: async (stack) => {
            const device = await admitted(stack);
            const sockets = await twoOf(stack, device);
            const { session_token } = await (sockets[0] as TestSocket).request("auth_session.create");
            const login = stack.person(session_token);
            // A login made with that login is still the device.
            const again = stack.person((await login.call("auth_session.create")).session_token);
            return over(sockets, async () => {
              await refusedIn(login.ask("GET", "/ws", { headers: UPGRADE }));
              return refusedIn(again.ask("GET", "/ws", { headers: UPGRADE }));
            });
          },
        },
      },
      again: async (stack) => {
        const [one, two] = [await admitted(stack), await admitted(stack)];
        return over([...(await twoOf(stack, one)), ...(await twoOf(stack, two))], async () => NOTHING);
      },
    },
    {
      option: "challenges_per_address",
      value: 2,
      ways: {
        "over REST": {
          says: NO_CHALLENGE,
          reach: async (stack) => {
            for (let i = 0; i < 2; i++) await challenge(stack, "10.4.0.1");
            return refusedIn(challenge(stack, "10.4.0.1"));
          },
        },
      },
      again: (stack) =>
        eventually(
          () => challenge(stack, "10.4.0.1"),
          ({ status }) => status === 200,
        ),
    },
    {
      option: "challenges",
      value: 4,
      ways: {
        "from several addresses": {
          says: NO_CHALLENGE,
          reach: (stack) =>
            until("challenges", async (address) => {
              const answer = await challenge(stack, address);
              return answer.status === 429 ? await refusedIn(Promise.resolve(answer)) : null;
            }),
        },
      },
      again: (stack) =>
        eventually(
          () => challenge(stack, "10.4.0.2"),
          ({ status }) => status === 200,
        ),
    },
    {
      option: "pairing_requests_per_address",
      value: 1,
      ways: {
        "on sockets": {
          says: NO_PAIRING,
          reach: async (stack) => {
            await askFrom(stack, "10.5.0.1");
            return (await askFrom(stack, "10.5.0.1")) ?? NOTHING;
          },
        },
      },
      again: (stack) =>
        eventually(
          () => askFrom(stack, "10.5.0.1"),
          (refused) => refused === null,
        ),
    },
    {
      option: "pairing_requests",
      value: 3,
      ways: {
        "from several addresses": {
          says: NO_PAIRING,
          reach: (stack) => until("pairing_requests", (address) => askFrom(stack, address)),
        },
      },
      again: (stack) =>
        eventually(
          () => askFrom(stack, "10.5.0.2"),
          (refused) => refused === null,
        ),
    },
  ],
};

/** Not refused. */
const NOTHING: Reached = { error: { code: "none", status: 0, message: "", retryable: false } };

const UPGRADE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};
