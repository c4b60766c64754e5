import type { RunningGateway } from "../support/gateway-process.ts";
import { openSocket } from "../support/ws-client.ts";

export interface FloodRequest {
  readonly method: "chat.inject" | "event.send";
  readonly params: Readonly<Record<string, unknown>>;
}

/** Requests in flight on one connection: what the gateway lets through. */
const IN_FLIGHT = 16;

/** Makes `count` requests as fast as they are answered, over several sockets. */
export async function flood(
  gateway: Pick<RunningGateway, "ws_url" | "token">,
  count: number,
  request: (index: number) => FloodRequest,
  sockets = 4,
): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: sockets }, async () => {
      const headers = { authorization: `Bearer ${gateway.token}` };
      await using socket = await openSocket(gateway.ws_url, { headers });
      const work = async (): Promise<void> => {
        while (next < count) {
          const { method, params } = request(next++);
          await socket.request(method, { ...params });
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, work));
    }),
  );
}
