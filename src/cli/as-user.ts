import type { Client } from "../client/client.ts";
import type { Scope } from "../protocol/schema.ts";
import type { ConnectOptions, Target } from "./target.ts";
import { connectTo } from "./target.ts";

/** How long a token counts that could not be taken back. */
const TOKEN_SECS = 86_400;

type ActingOptions = ConnectOptions & { readonly scopes: Scope[] };

export interface Acting {
  readonly client: Client;
  end(): Promise<void>;
}

/**
 * As another user, which takes an administrator: with a token of its own, which is in the audit trail and ends with the work.
 * Without a user: as whoever the target's credential is.
 */
export async function actAs(target: Target, user: string | null, options: ActingOptions): Promise<Acting> {
  const { scopes, ...more } = options;
  const own = await connectTo(target, more);
  if (user === null) return { client: own, end: async () => own.disconnect() };
  let client: Client | null = null;
  let token_id: string | null = null;
  const end = async (): Promise<void> => {
    client?.disconnect();
    try {
      if (token_id !== null) await own.request("token.revoke", { token_id });
    } finally {
      own.disconnect();
    }
  };
  try {
    const name = more.client_name ?? "agentbus";
    const made = await own.request("token.create", { name, user, scopes, expires_in_secs: TOKEN_SECS });
    ({ token_id } = made);
    client = await connectTo({ ...target, token: made.token, device: null }, more);
    return { client, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Does something as another user: see actAs. */
export async function asUser<T>(
  target: Target,
  user: string | null,
  options: ActingOptions,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const acting = await actAs(target, user, options);
  try {
    return await work(acting.client);
  } finally {
    await acting.end();
  }
}
