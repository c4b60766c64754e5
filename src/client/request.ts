import type { ClientError } from "./error.ts";
import { AbortedError, TimeoutError } from "./error.ts";
import type { Outbox } from "./outbox.ts";

export interface RequestOptions {
  /** Stops waiting; the gateway may still do what was asked. */
  readonly signal?: AbortSignal;
  /** Default: the client's request_timeout; 0: for ever, through reconnects. */
  readonly timeout_ms?: number;
}

/** A request as a promise. @throws ClientError the gateway's answer, CLOSED, TIMEOUT, ABORTED */
export function ask(
  outbox: Outbox,
  method: string,
  params: Record<string, unknown>,
  { signal, timeout_ms }: RequestOptions & { readonly timeout_ms: number },
): Promise<unknown> {
  if (signal?.aborted === true) return Promise.reject(new AbortedError());
  return new Promise((resolve, reject) => {
    const timer = timeout_ms === 0 ? undefined : setTimeout(onTimeout, timeout_ms);
    signal?.addEventListener("abort", onAbort);
    const takeBack = outbox.add(method, params, {
      ok(payload) {
        settled();
        resolve(payload);
      },
      failed(error) {
        settled();
        reject(error);
      },
    });

    function settled(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
    function stop(error: ClientError): void {
      takeBack();
      settled();
      reject(error);
    }
    function onAbort(): void {
      stop(new AbortedError());
    }
    function onTimeout(): void {
      const late = `${method} was not answered within ${timeout_ms / 1_000} s`;
      stop(new TimeoutError(late));
    }
  });
}

/** Waits for what comes before. @throws ClientError TIMEOUT, ABORTED */
export function turn(before: Promise<void>, { signal, timeout_ms = 0 }: RequestOptions): Promise<void> {
  if (signal?.aborted === true) return Promise.reject(new AbortedError());
  return new Promise((resolve, reject) => {
    const late = `what was sent before was not taken within ${timeout_ms / 1_000} s`;
    const timer = timeout_ms === 0 ? undefined : setTimeout(() => settle(new TimeoutError(late)), timeout_ms);
    const stop = (): void => settle(new AbortedError());
    const settle = (error: ClientError | null): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      if (error === null) resolve();
      else reject(error);
    };
    signal?.addEventListener("abort", stop);
    void before.then(() => settle(null));
  });
}

/** @throws ClientError ABORTED */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(new AbortedError());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted === true) stop();
  });
}
