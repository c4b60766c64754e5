import type { ClientError } from "./error.ts";
import { AbortedError, TimeoutError } from "./error.ts";
import type { Outbox } from "./outbox.ts";

export interface RequestOptions {
  /** Stops waiting; the gateway may still do what was asked. */
  readonly signal?: AbortSignal | undefined;
  /** Default: the client's request_timeout; 0: for ever, through reconnects. */
  readonly timeout_ms?: number | undefined;
}

/**
 * Waits for what `start` begins, no longer than it may. `start` answers how it is taken back, which is done once nobody waits.
 * @throws ClientError TIMEOUT, which says `late`; ABORTED
 */
export function wait<T>(
  { signal, timeout_ms = 0 }: RequestOptions,
  late: string,
  start: (resolve: (value: T) => void, reject: (error: ClientError) => void) => () => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => fail(new AbortedError());
    if (signal?.aborted === true) return reject(new AbortedError());
    let takeBack = (): void => undefined;
    let over = false;
    const settled = (): void => {
      over = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      takeBack();
    };
    const fail = (error: ClientError): void => {
      settled();
      reject(error);
    };
    const timer =
      timeout_ms === 0
        ? undefined
        : setTimeout(() => fail(new TimeoutError(`${late} within ${timeout_ms / 1_000} s`)), timeout_ms);
    signal?.addEventListener("abort", stop);
    takeBack = start((value) => {
      settled();
      resolve(value);
    }, fail);
    if (over) takeBack();
  });
}

/** A request as a promise. @throws ClientError the gateway's answer, CLOSED, TIMEOUT, ABORTED */
export function ask(
  outbox: Outbox,
  method: string,
  params: Record<string, unknown>,
  options: RequestOptions,
): Promise<unknown> {
  return wait(options, `${method} was not answered`, (ok, failed) =>
    outbox.add(method, params, { ok, failed }),
  );
}

/** Waits for what comes before. @throws ClientError TIMEOUT, ABORTED */
export function turn(before: Promise<void>, options: RequestOptions): Promise<void> {
  return wait<void>(options, "what was sent before was not taken", (resolve) => {
    void before.then(resolve);
    return () => undefined;
  });
}

/** @throws ClientError ABORTED */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return wait<void>({ signal }, "", (done) => {
    const timer = setTimeout(done, ms);
    return () => clearTimeout(timer);
  });
}
