import { createClient } from "../../src/client/client.ts";
import type { RunningGateway } from "../support/gateway-process.ts";

/** What lets one connection fill a session in seconds. */
export const FILLING = { limits: { mutations_per_second: 100_000, mutations_burst: 100_000 } };

/** A session of so many messages, questions and answers in turn, each of them with its number. */
export async function fillSession(
  gateway: Pick<RunningGateway, "url" | "token">,
  session_id: string,
  count: number,
): Promise<void> {
  const client = createClient({ url: gateway.url, auth_token: gateway.token });
  await client.connect();
  await client.request("session.create", { session_id, title: "A long one" });
  let next = 0;
  const fill = async (): Promise<void> => {
    for (let at = next++; at < count; at = next++) {
      const role = at % 2 === 0 ? "user" : "assistant";
      const text = `Message number ${at}. ${"Some words of it, **bold** and `code`. ".repeat(1 + (at % 4))}`;
      await client.request("chat.inject", { session_id, role, content: text });
    }
  };
  await Promise.all(Array.from({ length: 12 }, fill));
  client.disconnect();
}
