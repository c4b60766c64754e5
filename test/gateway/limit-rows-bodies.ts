import { connect } from "node:net";
import type { LimitGroup, Reached } from "./limit-rows.ts";
import { from, refusedIn } from "./limit-rows.ts";
import type { Answer, Stack } from "./stack.ts";
import { ask, eventually } from "./stack.ts";

const PATH = "/api/v1/hooks/nobody";
const says = { code: "RATE_LIMITED", kind: "bodies", status: 429, retry_after: "1" } as const;

/** What comes whole from somebody who has no secret. */
function send({ gateway }: Stack, address: string, bytes: number): Promise<Answer> {
  return ask(`${gateway.url}${PATH}`, "POST", { body: "x".repeat(bytes), headers: from(address) });
}

/** Bodies that do not come to their end; the answer drops them. */
async function begin({ gateway }: Stack, addresses: readonly string[], bytes: number): Promise<() => void> {
  const port = Number(new URL(gateway.url).port);
  const sockets = addresses.map((address) => {
    const socket = connect(port, "127.0.0.1");
    const head = [`POST ${PATH} HTTP/1.1`, "Host: localhost", `X-Forwarded-For: ${address}`];
    socket.write(`${head.join("\r\n")}\r\nContent-Length: ${bytes + 1}\r\n\r\n${"x".repeat(bytes)}`);
    return socket;
  });
  await Promise.all(sockets.map((socket) => new Promise((sent) => socket.once("connect", sent))));
  return () => sockets.forEach((socket) => socket.destroy());
}

const refusedFrom = (stack: Stack, address: string): Promise<Reached> =>
  refusedIn(
    eventually(
      () => send(stack, address, 150_000),
      ({ status }) => status === 429,
    ),
  );

/** What anybody may send in any case is taken, and told that it has no secret. */
async function isTaken(stack: Stack, address: string, bytes: number): Promise<void> {
  await eventually(
    () => send(stack, address, bytes),
    ({ status }) => status === 401,
  );
}

export const STRANGERS: LimitGroup = {
  name: "bodies of strangers",
  config: {
    server: { trusted_proxies: ["127.0.0.1"] },
    limits: {
      body_bytes: 200_000,
      unauthenticated_bytes_per_address: 250_000,
      unauthenticated_bytes: 400_000,
    },
  },
  rows: [
    {
      option: "unauthenticated_bytes_per_address",
      value: 250_000,
      ways: {
        "for a hook": {
          says,
          reach: async (stack) => {
            const drop = await begin(stack, ["192.0.2.1"], 150_000);
            const reached = await refusedFrom(stack, "192.0.2.1");
            await isTaken(stack, "192.0.2.1", 8_000);
            await isTaken(stack, "192.0.2.2", 150_000);
            drop();
            return reached;
          },
        },
      },
      again: (stack) => isTaken(stack, "192.0.2.1", 150_000),
    },
    {
      option: "unauthenticated_bytes",
      value: 400_000,
      ways: {
        "for a hook, of several": {
          says,
          reach: async (stack) => {
            const drop = await begin(stack, ["192.0.2.3", "192.0.2.4"], 190_000);
            const reached = await refusedFrom(stack, "192.0.2.5");
            await isTaken(stack, "192.0.2.5", 8_000);
            drop();
            return reached;
          },
        },
      },
      again: (stack) => isTaken(stack, "192.0.2.5", 150_000),
    },
  ],
};
