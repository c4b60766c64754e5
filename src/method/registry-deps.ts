import type { Audit } from "../core/audit.ts";
import type { Caller } from "../core/call.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Principal } from "../core/principal.ts";
import type { Rates } from "../core/rates.ts";
import type { Store } from "../core/store.ts";
import type { Tracing } from "../core/tracing.ts";
import type { GatewayError } from "../protocol/errors.ts";
import type { Relay } from "./relay.ts";

/** What a registry works with. */
export interface RegistryDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly audit: Audit;
  /** Whether what a caller came in with still counts: asked when a request comes, and again when it is about to write. */
  readonly isLive: (principal: Principal) => boolean;
  /** Counts every request, with the error it was answered with. */
  readonly count: (error: GatewayError | null, caller: Caller) => void;
  /** Absent: no other node has sessions. */
  readonly relay?: () => Relay | null;
  readonly tracing?: Pick<Tracing, "request">;
  /** Bounds how fast a caller changes things. */
  readonly rates: Pick<Rates, "count">;
  /** The gateway stops: nothing new is begun, chat.abort still works. */
  readonly draining: () => boolean;
  /** The gateway's id of a session by the id a user calls it, where it is known without a read. */
  readonly sessionOf?: (user: string, id: string) => string | null;
}
