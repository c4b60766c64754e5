import { isGatewaySessionId } from "../core/id.ts";
import type { SessionRef } from "../core/session.ts";
import { noSession } from "../core/session.ts";
import type { Tail } from "../core/tail.ts";
import { NoSuchSession } from "../core/slot.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodDeps } from "./deps.ts";

export interface NameUse<T> {
  /** There is none: appends what makes it, at once. Its name is given back where this throws. */
  readonly make: (session: SessionRef) => T;
  /** There is one; its tail is pinned meanwhile. */
  readonly found: (session: SessionRef, tail: Tail) => T;
  /** Whether the name of a deleted session counts as free. */
  readonly revive: boolean;
}

/**
 * Finds the session a user calls by an id, or makes it; without an id it makes one. Of several who ask for one new name
 * at once the first makes it and the others wait: reserving the name and appending are one tick with knowing that it is
 * free. @throws GatewayError NOT_FOUND for an id of the gateway's, GONE unless `revive`
 */
export async function findOrMake<T>(
  deps: MethodDeps,
  user: string,
  id: string | undefined,
  use: NameUse<T>,
): Promise<T> {
  const { directory, journal } = deps;
  for (;;) {
    const known = id === undefined ? null : ((await look(deps, user, id, use)) ?? directory.known(user, id));
    if (known === null) return make(deps, user, id, use);
    const tail = await pinned(deps, known);
    // Another request was to make it, and did not after all.
    if (tail === null) continue;
    try {
      return use.found(known, tail);
    } finally {
      journal.tails.release(known.id);
    }
  }
}

async function look<T>(
  { directory }: MethodDeps,
  user: string,
  id: string,
  { revive }: NameUse<T>,
): Promise<SessionRef | null> {
  try {
    return await directory.lookup(user, id);
  } catch (error) {
    if (revive && error instanceof GatewayError && error.reason === "GONE") return null;
    throw error;
  }
}

function make<T>({ directory }: MethodDeps, user: string, id: string | undefined, use: NameUse<T>): T {
  if (id !== undefined && isGatewaySessionId(id)) throw noSession();
  const session = directory.reserve(user, id ?? null);
  try {
    return use.make(session);
  } catch (error) {
    directory.forget(session);
    throw error;
  }
}

async function pinned({ directory, journal }: MethodDeps, session: SessionRef): Promise<Tail | null> {
  try {
    return await journal.tails.pin(session);
  } catch (error) {
    if (!(error instanceof NoSuchSession)) throw error;
    directory.forget(session);
    return null;
  }
}
