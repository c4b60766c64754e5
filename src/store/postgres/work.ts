import type { Limits } from "../../core/limits.ts";
import { Attachments } from "./attachments.ts";
import { NewEvents } from "./new-events.ts";
import type { Queries } from "./queries.ts";
import { Quotas } from "./quotas.ts";
import { WorkingSessions } from "./working-sessions.ts";

/** What one transaction works with. */
export interface Work {
  readonly q: Queries;
  readonly limits: Limits;
  /** The incarnation of this node. */
  readonly boot: string;
  readonly sessions: WorkingSessions;
  readonly events: NewEvents;
  readonly quotas: Quotas;
  readonly attachments: Attachments;
}

export function newWork(q: Queries, limits: Limits, boot: string): Work {
  const quotas = new Quotas(q, limits);
  return {
    q,
    limits,
    boot,
    sessions: new WorkingSessions(q, boot),
    events: new NewEvents(q),
    quotas,
    attachments: new Attachments(q, limits, quotas),
  };
}

/** Writes back what was changed in memory. */
export async function flush({ events, sessions, quotas }: Work): Promise<void> {
  await Promise.all([events.flush(), sessions.flush(), quotas.flush()]);
}
