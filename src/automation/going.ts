import type { OtherNodes } from "../core/other-nodes.ts";
import type { Owed } from "../core/owed.ts";
import type { Deliveries } from "./deliveries.ts";

/** How the deliveries to a webhook go, as whoever makes them knows. */
export interface Going {
  /** Sessions of which something waits for it. */
  readonly waiting: number;
  /** Since when its receiver takes nothing; null: it does. */
  readonly failing_since: number | null;
}

interface GoingsOptions {
  readonly nodes: OtherNodes;
  readonly deliveries: Deliveries;
  readonly owed: Pick<Owed, "all">;
}

/** What nodes ask of the one that delivers, and tell it. */
const GOING = "webhooks";
const TOOK = "webhook.took";

/** Tells the same at every node, although one delivers. */
export function createGoings({ nodes, deliveries, owed }: GoingsOptions) {
  function here(ids: readonly string[]): Going[] | null {
    if (!deliveries.isOpen) return null;
    return ids.map((id) => ({ waiting: deliveries.waiting(id), failing_since: deliveries.failingSince(id) }));
  }

  nodes.on<readonly string[]>(GOING, here);
  nodes.on<string>(TOOK, (id) => deliveries.took(id));
  return {
    /** In their order. */
    async of(ids: readonly string[]): Promise<Going[]> {
      const own = here(ids);
      if (own !== null || ids.length === 0) return own ?? [];
      const [answer] = (await nodes.ask<Going[]>(GOING, ids)).answers;
      // While nobody delivers, whoever does so next has at least these logs to read.
      return answer?.body ?? ids.map(() => ({ waiting: owed.all().length, failing_since: null }));
    },
    /** It took something that was sent by hand. */
    took(webhook_id: string): void {
      deliveries.took(webhook_id);
      nodes.tell(TOOK, webhook_id);
    },
  };
}
