import type { Clock } from "../core/ports.ts";
import type { Principal, TicketIssuer } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import { digestOf, MAX_SECRET_CHARS, newSecret } from "./secret.ts";

export interface TicketsOptions {
  readonly clock: Clock;
  /** `tickets`: how many may be out at once. */
  readonly limits: { readonly tickets: number; readonly ticket_ttl_ms: number };
  /** Whether the credential a ticket was made with still counts. */
  readonly isLive: (principal: Principal) => boolean;
}

export interface Tickets extends TicketIssuer {
  /** Who a ticket admits, once; null: it is wrong, used or too old, or what it was made with has ended. */
  redeem(ticket: string): Principal | null;
}

/** Single-use credentials, in memory: each admits one upgrade or one SSE request as the principal who asked for it. */
export function createTickets({ clock, limits, isLive }: TicketsOptions): Tickets {
  /** By digest, in the order made, which is the order they end in. `ends_at` by the monotonic clock. */
  const out = new Map<string, { readonly principal: Principal; readonly ends_at: number }>();

  /** Drops those that are too old; how long the oldest of the rest has. */
  function purge(): number {
    const now = clock.monotonic();
    for (const [key, { ends_at }] of out) {
      if (ends_at > now) return ends_at - now;
      out.delete(key);
    }
    return 0;
  }

  return {
    issue(principal) {
      const wait = purge();
      if (out.size >= limits.tickets) {
        throw new GatewayError(
          "RATE_LIMITED",
          "too many tickets are out: use those you have, or try again later",
          {
            details: { kind: "tickets" },
            retry_after_ms: Math.ceil(wait),
          },
        );
      }
      const ticket = newSecret("agt_");
      out.set(keyOf(ticket), { principal, ends_at: clock.monotonic() + limits.ticket_ttl_ms });
      return { ticket, expires_at: clock.now() + limits.ticket_ttl_ms };
    },
    redeem(ticket) {
      if (ticket.length > MAX_SECRET_CHARS) return null;
      purge();
      const key = keyOf(ticket);
      const found = out.get(key);
      out.delete(key);
      return found !== undefined && isLive(found.principal) ? found.principal : null;
    },
  };
}

function keyOf(ticket: string): string {
  return digestOf(ticket).toString("hex");
}
