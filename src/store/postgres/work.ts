import type { Limits } from "../../core/limits.ts";
import { Attachments } from "./attachments.ts";
import { ChangedRecords } from "./changed-records.ts";
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
  /** Other nodes are told of these. */
  readonly changed: ChangedRecords;
  /** Answers that nobody waited for yet. */
  readonly pending: Promise<unknown>[];
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
    changed: new ChangedRecords(boot),
    pending: [],
  };
}

/** Gives a statement whose answer is waited for at the end only. */
export function later({ q, pending }: Work, text: string): void {
  const answer = q.run(text);
  // Where the group fails before its end, it fails by what went wrong first.
  answer.catch(() => undefined);
  pending.push(answer);
}

/** Writes back what was changed in memory, and waits for everything. */
export async function flush({ q, events, sessions, quotas, pending, changed }: Work): Promise<void> {
  await Promise.all([...pending, events.flush(), sessions.flush(), quotas.flush(), changed.flush(q)]);
}
