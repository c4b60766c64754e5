import { isGatewaySessionId } from "../core/id.ts";
import type { SessionRef } from "../core/session.ts";
import type { MethodDeps } from "./deps.ts";
import type { Call } from "./registry.ts";

interface Sent {
  /** As the user calls it. */
  readonly session_id?: string | undefined;
  /** Whether it begins the session where there is none. */
  readonly makes: boolean;
  readonly role: "user" | "assistant" | "system";
  readonly content: string;
  readonly metadata?: Record<string, unknown> | undefined;
}

/**
 * The text to write, once nobody who has a hook refuses it. Whoever may not write to the session is told so first. The
 * place in the order of the connection is held meanwhile; one in the lane of the session is not taken yet.
 * @throws GatewayError FORBIDDEN, NOT_FOUND, GONE
 */
export async function hooked(deps: MethodDeps, { user }: Call, sent: Sent): Promise<string> {
  const { role, content, metadata = {} } = sent;
  const session = await sessionOf(deps, user, sent);
  return deps.hooks.beforeMessage({
    session_id: session?.id ?? null,
    user,
    role,
    message: content,
    metadata,
  });
}

async function sessionOf(
  { directory }: MethodDeps,
  user: string,
  { session_id, makes }: Sent,
): Promise<SessionRef | null> {
  if (session_id === undefined) return null;
  if (!makes || isGatewaySessionId(session_id)) return directory.find(user, session_id, "write");
  const session = await directory.lookup(user, session_id);
  if (session !== null) directory.require(session, user, "write");
  return session;
}
