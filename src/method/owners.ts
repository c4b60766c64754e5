/** What is done where the session is: everything that appends to its log, or is about its runs. */
const OWNERS: ReadonlySet<string> = new Set([
  "chat.send",
  "chat.abort",
  "chat.inject",
  "run.create",
  "session.update",
  "session.compact",
  "session.title",
  "session.delete",
  "session.share",
  "session.unshare",
  "tool.approve",
]);

export function isOwners(method: string, params: unknown): boolean {
  // A signal is in no log.
  if (method === "event.send") return (params as { readonly durable?: unknown }).durable === true;
  return OWNERS.has(method);
}

/** Of these the ones that are answered once something has ended, or a model has answered. */
export const SLOW: ReadonlySet<string> = new Set([
  "chat.abort",
  "session.delete",
  "session.title",
  "session.compact",
]);
