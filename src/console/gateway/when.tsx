import { longTime } from "../time.ts";

/** A moment; without one, never. */
export function When({ ms }: { readonly ms: number | undefined }) {
  if (ms === undefined) return "never";
  return <time dateTime={new Date(ms).toISOString()}>{longTime(ms)}</time>;
}
