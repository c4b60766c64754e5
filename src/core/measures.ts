import { FAST_SECS, Histogram, SLOW_SECS } from "./histogram.ts";

/** How long things take here, in seconds. What is counted stands in Stats. */
export class Measures {
  /** From an append to the moment its events were handed to every reader, once for each event. */
  readonly event_lag = new Histogram(FAST_SECS);
  /** Groups of writes that waited for the disk, and groups that did not. */
  readonly commits = { full: new Histogram(FAST_SECS), normal: new Histogram(FAST_SECS) };
  /** Pages of logs, and every other read of the store. */
  readonly reads = { page: new Histogram(FAST_SECS), other: new Histogram(FAST_SECS) };
  /** How late the event loop came to a timer. */
  readonly loop_lag = new Histogram(FAST_SECS);
  /** From the start of a run to its end. */
  readonly runs = new Histogram(SLOW_SECS);
  /** From asking a model to the first of its answer. */
  readonly first_token = new Histogram(SLOW_SECS);
  /** Calls of tools that were made. */
  readonly tools = new Histogram(SLOW_SECS);
}
