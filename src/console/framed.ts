import { useMemo, useSyncExternalStore } from "react";

interface Watched<T> {
  readonly subscribe: (listener: () => void) => () => void;
  readonly getSnapshot: () => T;
}

/** How often a page that nobody sees is brought up to date. */
const HIDDEN_MS = 500;

/** What is watched, looked at once a frame: words come faster than they can be shown. */
export function useFramed<T>(watched: Watched<T>): T {
  const framed = useMemo(() => inFrames(watched), [watched]);
  return useSyncExternalStore(framed.subscribe, framed.getSnapshot);
}

function inFrames<T>({ subscribe, getSnapshot }: Watched<T>): Watched<T> {
  let shown = getSnapshot();
  const listeners = new Set<() => void>();
  let stop: (() => void) | null = null;
  let waiting = false;
  function show(): void {
    waiting = false;
    shown = getSnapshot();
    for (const listener of listeners) listener();
  }
  function changed(): void {
    if (waiting) return;
    waiting = true;
    if (document.hidden) setTimeout(show, HIDDEN_MS);
    else requestAnimationFrame(show);
  }
  return {
    getSnapshot: () => shown,
    subscribe(listener) {
      listeners.add(listener);
      stop ??= subscribe(changed);
      // Something may have happened before anybody listened.
      changed();
      return () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        stop?.();
        stop = null;
      };
    },
  };
}
