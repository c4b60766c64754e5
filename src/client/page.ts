/** What a browser knows of the network before any socket does. */
export interface PageSigns {
  /** The machine has a network again. */
  online(): void;
  /** Somebody looks at the page again; its timers may have stood still. */
  visible(): void;
}

/** Where the signs come from: a page's window, a worker's scope. */
export interface PageScope {
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
  readonly document?: PageScope & { readonly visibilityState?: string };
}

/** Tells of the signs until the answer is called; other runtimes have none. */
export function watchPage(scope: PageScope, signs: PageSigns): () => void {
  const online = (): void => signs.online();
  const visible = (): void => {
    if (scope.document?.visibilityState === "visible") signs.visible();
  };
  scope.addEventListener?.("online", online);
  scope.document?.addEventListener?.("visibilitychange", visible);
  return () => {
    scope.removeEventListener?.("online", online);
    scope.document?.removeEventListener?.("visibilitychange", visible);
  };
}
