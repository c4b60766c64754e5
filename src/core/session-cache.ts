import type { SessionRef } from "./session.ts";

export const CACHED = 20_000;

/** What a name or an id leads to: read once for all who ask meanwhile. */
export interface Cached<T> {
  readonly found: Promise<T>;
  /** The session, once it is known: it exists, or is being made. */
  session: SessionRef | null;
}

/** Only what exists stays remembered; an answer of "no" or an error is asked for again. */
export function shareRead<T extends SessionRef | "gone" | null>(
  cache: Map<string, Cached<T>>,
  key: string,
  read: () => Promise<T>,
): Promise<T> {
  const known = cache.get(key);
  if (known !== undefined) return known.found;
  const cached: Cached<T> = { found: read(), session: null };
  remember(cache, key, cached);
  const forget = (): void => {
    if (cache.get(key) === cached) cache.delete(key);
  };
  cached.found.then((found) => {
    if (found === null || found === "gone") forget();
    else cached.session = found;
  }, forget);
  return cached.found;
}

/** Puts it in last, and drops what was put in first past the bound. */
export function remember<T>(cache: Map<string, T>, key: string, value: T): void {
  cache.delete(key);
  cache.set(key, value);
  if (cache.size <= CACHED) return;
  const oldest = cache.keys().next();
  if (oldest.done !== true) cache.delete(oldest.value);
}
