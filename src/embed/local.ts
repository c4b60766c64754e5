import type { Caller } from "../core/call.ts";
import { isGatewaySessionId } from "../core/id.ts";
import type { Principal } from "../core/principal.ts";
import type { SessionRef } from "../core/session.ts";
import { noSession } from "../core/session.ts";
import type { Engine } from "../engine.ts";
import { localCall, localPrincipal } from "../local-call.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodDefinition, ParamsOf, ResultOf } from "../protocol/methods.ts";

/** Who asks where a call of the program names nobody. */
export const OWNER = "owner";

export interface LocalDeps {
  readonly engine: Engine;
  /** Whether the gateway was started and has not begun to stop. */
  readonly isRunning: () => boolean;
}

/** The gateway as the program around it calls it: the methods of the wire, by a user it names, with every scope. */
export class Local {
  readonly engine: Engine;
  readonly #isRunning: () => boolean;
  /** Rejects what is waited for. */
  readonly #open = new Set<(error: GatewayError) => void>();

  constructor({ engine, isRunning }: LocalDeps) {
    this.engine = engine;
    this.#isRunning = isRunning;
  }

  /** @throws GatewayError UNAVAILABLE */
  requireRunning(): void {
    if (this.#isRunning()) return;
    throw new GatewayError("UNAVAILABLE", "the gateway is not running: await start() first", {
      details: { kind: "stopped" },
      retryable: false,
    });
  }

  /** @throws GatewayError what the method answers */
  async call<M extends MethodDefinition>(
    method: M,
    params: ParamsOf<M>,
    by: Principal = speakingFor(OWNER),
  ): Promise<ResultOf<M>> {
    this.requireRunning();
    const caller: Caller = {
      principal: by,
      transport: "local",
      client_id: "embedded",
      remote: "local",
      connection: null,
      signal: new AbortController().signal,
    };
    // What was not given is not there: the program need not build its objects around what is missing.
    const said = Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
    const answer = localCall(this.engine.registry.dispatch, caller, method.name, said);
    return this.unlessLost(answer);
  }

  /** As the work, or rejected where its outcome will never be known. */
  unlessLost<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#open.add(reject);
      const settled = (): void => void this.#open.delete(reject);
      work.finally(settled).then(resolve, reject);
    });
  }

  /** Nothing more is answered: the outcome of what was under way is open. */
  lose(): void {
    const error = new GatewayError("UNAVAILABLE", "storage broke: whether this was done is not known", {
      details: { kind: "storage" },
      retryable: false,
    });
    for (const reject of this.#open) reject(error);
    this.#open.clear();
  }

  /** The user on whose behalf something is done with a session: the one that is named, else its owner. @throws GatewayError */
  async userOf(session_id: string, named: string | undefined): Promise<string> {
    this.requireRunning();
    if (named !== undefined) return named;
    if (!isGatewaySessionId(session_id)) return OWNER;
    const row = await this.engine.store.session(session_id);
    if (row === null) throw noSession();
    return row.owner;
  }

  /** @throws GatewayError NOT_FOUND, GONE */
  async session(session_id: string, user: string): Promise<SessionRef> {
    this.requireRunning();
    return this.engine.directory.find(user, session_id, "read");
  }
}

/** A user, with every scope: what the program may do is not for the gateway to say. */
export function speakingFor(user: string): Principal {
  return localPrincipal(user, ["admin"]);
}
