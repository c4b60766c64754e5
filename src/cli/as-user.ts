import type { Client } from "../client/client.ts";
import type { Scope } from "../protocol/schema.ts";
import type { ConnectOptions, Target } from "./target.ts";
import { connectTo } from "./target.ts";

/** How long a token counts that could not be taken back. */
const TOKEN_SECS = 86_400;

/**
 * Does something as another user, which takes an administrator: with a token of its own, which is in the audit trail and ends with the work.
 * Without a user: as whoever the target's credential is.
 */
export async function asUser<T>(
  target: Target,
  user: string | null,
  { scopes, ...options }: ConnectOptions & { readonly scopes: Scope[] },
  work: (client: Client) => Promise<T>,
): Promise<T> {
  if (user === null) return using(await connectTo(target, options), work);
  return using(await connectTo(target, options), async (admin) => {
    const name = options.client_name ?? "agentbus";
    const made = await admin.request("token.create", { name, user, scopes, expires_in_secs: TOKEN_SECS });
    try {
      return await using(await connectTo({ ...target, token: made.token, device: null }, options), work);
    } finally {
      await admin.request("token.revoke", { token_id: made.token_id });
    }
  });
}

async function using<T>(client: Client, work: (client: Client) => Promise<T>): Promise<T> {
  try {
    return await work(client);
  } finally {
    client.disconnect();
  }
}
