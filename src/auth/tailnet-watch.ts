import type { Connection } from "../core/connections.ts";
import type { Clock } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Tailnet } from "./tailnet.ts";

/** How often it is looked whose answer is too old to count; tailscaled itself is asked at the pace of the answers. */
const LOOK_MS = 5_000;
const RETRY_MS = 1_000;

export interface TailnetWatchOptions {
  readonly tailnet: Tailnet;
  readonly connections: () => Iterable<Connection>;
  readonly clock: Clock;
}

/** Ends the connections of peers that are not whom they were let in as. The answer stops it; idempotent. */
export function watchTailnet({ tailnet, connections, clock }: TailnetWatchOptions): () => void {
  let looking = false;

  async function look(): Promise<void> {
    // One after the other: a thousand connections must not keep those waiting who come in.
    for (const connection of connections()) {
      const peer = connection.principal?.peer;
      if (peer === undefined || connection.state === "closing") continue;
      const { principal } = connection;
      if (principal !== null && !tailnet.grants(principal)) {
        connection.close(another());
        continue;
      }
      const verdict = await tailnet.recheck(peer);
      // It may have shown a credential meanwhile.
      if (verdict === "same" || connection.principal?.peer !== peer) continue;
      connection.close(verdict === "other" ? another() : unconfirmed());
    }
  }

  return clock.every(LOOK_MS, () => {
    if (looking) return;
    looking = true;
    void look().finally(() => (looking = false));
  });
}

function another(): GatewayError {
  return new GatewayError("UNAUTHORIZED", "this peer of the tailnet is not the one it was let in as");
}

function unconfirmed(): GatewayError {
  return new GatewayError("UNAVAILABLE", "tailscaled does not say any more who this peer is: connect again", {
    details: { kind: "tailscale" },
    retry_after_ms: RETRY_MS,
  });
}
