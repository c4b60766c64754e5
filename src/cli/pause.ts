import { ClientError } from "../client/error.ts";

/** Resolves after `ms`. @throws ClientError ABORTED at once when the signal is */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(new ClientError("ABORTED", "stopped by Ctrl-C"));
    };
    if (signal?.aborted === true) return reject(new ClientError("ABORTED", "stopped by Ctrl-C"));
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
    return undefined;
  });
}
