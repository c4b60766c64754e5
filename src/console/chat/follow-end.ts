import type { RefObject } from "react";
import { useEffect, useState } from "react";

/** So near to the end one follows it. */
const NEAR_PX = 8;
/** A scroll so soon after the reader touched something is theirs; others come from content that changes its size. */
const TOUCHED_MS = 1_000;
const UPWARDS = new Set(["ArrowUp", "PageUp", "Home"]);

/** Follows the end of what grows, until its reader scrolls away from it, and again once they are back. */
export class FollowEnd {
  readonly #place: RefObject<HTMLElement | null>;
  readonly #tell: (away: boolean) => void;
  #follows = true;
  #before = 0;
  #touched_at = Number.NEGATIVE_INFINITY;

  constructor(place: RefObject<HTMLElement | null>, tell: (away: boolean) => void) {
    this.#place = place;
    this.#tell = tell;
  }

  readonly scrolled = (offset: number): void => {
    const place = this.#place.current;
    if (place === null) return;
    const left = place.scrollHeight - place.clientHeight - offset;
    const theirs = performance.now() - this.#touched_at < TOUCHED_MS;
    if (left <= NEAR_PX) this.#follows = true;
    else if (theirs && offset < this.#before - 1) this.#follows = false;
    this.#before = offset;
    this.#tell(!this.#follows && left > place.clientHeight / 2);
  };

  /** Something has changed its size. */
  readonly grown = (): void => {
    const place = this.#place.current;
    if (this.#follows && place !== null) place.scrollTop = place.scrollHeight;
  };

  /** Something else was chosen to be looked at. */
  readonly leave = (): void => void (this.#follows = false);

  readonly toEnd = (): void => {
    this.#follows = true;
    this.grown();
  };

  /** Listens to the reader; the answer stops it. */
  listen(place: HTMLElement): () => void {
    const over = new AbortController();
    const { signal } = over;
    const touched = (): void => void (this.#touched_at = performance.now());
    for (const name of ["wheel", "touchmove", "pointerdown", "pointermove"] as const)
      place.addEventListener(name, touched, { signal, passive: true });
    place.addEventListener("keydown", ({ key }) => UPWARDS.has(key) && touched(), { signal });
    return () => over.abort();
  }
}

export function useFollowEnd(place: RefObject<HTMLElement | null>): {
  readonly end: FollowEnd;
  /** One has scrolled away from it. */
  readonly away: boolean;
} {
  const [away, setAway] = useState(false);
  const [end] = useState(() => new FollowEnd(place, setAway));
  useEffect(() => (place.current === null ? undefined : end.listen(place.current)), [end, place]);
  return { end, away };
}
