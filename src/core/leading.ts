import type { Store } from "./store.ts";

/** Whether this node does what is done once for all that share the store. Alone it does. */
export function leads({ cluster }: Pick<Store, "cluster">): boolean {
  return cluster?.leads() ?? true;
}

/** Begins now or as soon as this node leads, and ends when it does so no more. Ends both with what is answered. */
export function whileLeading(
  { cluster }: Pick<Store, "cluster">,
  work: { readonly begin: () => void; readonly end: () => void },
): () => void {
  if (cluster === undefined) {
    work.begin();
    return () => undefined;
  }
  const unlisten = cluster.onLeads((now) => (now ? work.begin() : work.end()));
  if (cluster.leads()) work.begin();
  return unlisten;
}
