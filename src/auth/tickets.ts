import type { Limits } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import type { IssuedTicket, Principal, TicketIssuer } from "../core/principal.ts";
import { Tally } from "../core/tally.ts";
import { GatewayError } from "../protocol/errors.ts";
import { digestOf, MAX_SECRET_CHARS, newSecret } from "./secret.ts";

export interface TicketsOptions {
  readonly clock: Clock;
  readonly limits: Pick<Limits, "tickets" | "tickets_per_user" | "ticket_ttl_ms">;
  /** Whether the credential a ticket was made with still counts. */
  readonly isLive: (principal: Principal) => boolean;
}

export interface Tickets extends TicketIssuer {
  /**
   * Who a ticket admits, once; null: it is wrong, used or too old, or what it was made with has ended.
   * Rejects with a GatewayError UNAVAILABLE where the store does not tell.
   */
  redeem(ticket: string): Principal | null | Promise<Principal | null>;
}

/** Those of one process. */
export interface MemoryTickets extends Tickets {
  issue(principal: Principal): IssuedTicket;
  redeem(ticket: string): Principal | null;
}

/** Single-use credentials, in memory: each admits one upgrade or one SSE request as the principal who asked for it. */
export function createTickets({ clock, limits, isLive }: TicketsOptions): MemoryTickets {
  /** By digest, in the order made, which is the order they end in. `ends_at` by the monotonic clock. */
  const out = new Map<string, { readonly principal: Principal; readonly ends_at: number }>();

  const ofUser = new Tally();

  function drop(key: string, { user }: Principal): void {
    out.delete(key);
    ofUser.count(user, -1);
  }

  /** Drops those that are too old; how long the oldest of the rest has. */
  function purge(): number {
    const now = clock.monotonic();
    for (const [key, { principal, ends_at }] of out) {
      if (ends_at > now) return ends_at - now;
      drop(key, principal);
    }
    return 0;
  }

  return {
    issue(principal) {
      const wait = purge();
      const { user } = principal;
      // Of one user fewer, so that nobody takes them all.
      if (ofUser.of(user) >= limits.tickets_per_user) throw tooManyTickets("tickets_per_user", limits, wait);
      if (out.size >= limits.tickets) throw tooManyTickets("tickets", limits, wait);
      ofUser.count(user, 1);
      const ticket = newSecret("agt_");
      out.set(keyOf(ticket), { principal, ends_at: clock.monotonic() + limits.ticket_ttl_ms });
      return { ticket, expires_at: clock.now() + limits.ticket_ttl_ms };
    },
    redeem(ticket) {
      if (ticket.length > MAX_SECRET_CHARS) return null;
      purge();
      const key = keyOf(ticket);
      const found = out.get(key);
      if (found === undefined) return null;
      drop(key, found.principal);
      return isLive(found.principal) ? found.principal : null;
    },
  };
}

function tooManyTickets(
  what: "tickets" | "tickets_per_user",
  limits: TicketsOptions["limits"],
  wait_ms: number,
): GatewayError {
  return new GatewayError(
    "RATE_LIMITED",
    "too many tickets are out: use those you have, or try again later",
    {
      details: { kind: "tickets" },
      limit: { what, limit: limits[what] },
      retry_after_ms: Math.ceil(wait_ms),
    },
  );
}

function keyOf(ticket: string): string {
  return digestOf(ticket).toString("hex");
}
