import { isIP } from "node:net";
import { readBody } from "./fetch-body.ts";
import type { Reach } from "./fetch-reach.ts";
import { hostOf } from "./fetch-reach.ts";
import { ask } from "./fetch-request.ts";

export interface PosterOptions {
  readonly reach: Reach;
  /** The addresses of a name, as they are now. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
}

/** What became of a request. */
export type Posted =
  | { readonly status: number; readonly retry_after: string | null }
  /** It was not sent, or not answered. */
  | { readonly status: null; readonly reason: string };

/** What is read of an answer: it is of no interest, and ends the connection. */
const ANSWER_BYTES = 4_096;

/** Posts JSON to where the reach allows: one resolved address, no redirect. Never rejects. */
export function createPoster({ reach, resolve }: PosterOptions) {
  async function addressOf(url: URL, signal: AbortSignal): Promise<string> {
    const host = hostOf(url);
    const addresses = isIP(host) === 0 ? await until(signal, resolve(host)).catch(() => []) : [host];
    signal.throwIfAborted();
    const [address] = addresses;
    if (address === undefined) throw new Error(`${host} is not known: no address is found for it`);
    for (const each of addresses) {
      const why = reach.refused(url, each);
      if (why !== null) throw new Error(why);
    }
    return address;
  }

  return {
    /** @throws Error that says what is wrong with a URL */
    check: (text: string): string => reach.url(text).href,
    async post(
      text: string,
      headers: Readonly<Record<string, string>>,
      body: string,
      signal: AbortSignal,
    ): Promise<Posted> {
      try {
        const url = reach.url(text);
        const address = await addressOf(url, signal);
        const response = await ask({ url, address, method: "POST", signal, headers, body });
        try {
          await readBody(response, ANSWER_BYTES);
        } finally {
          response.destroy();
        }
        return { status: response.statusCode ?? 0, retry_after: response.headers["retry-after"] ?? null };
      } catch (error) {
        if (signal.aborted) return { status: null, reason: "no answer in time" };
        return { status: null, reason: reasonOf(error) };
      }
    },
  };
}

/** Resolves as the work does, and rejects with the signal: a resolver that does not answer cannot be called back. */
async function until<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const over = Promise.withResolvers<never>();
  const stop = (): void => over.reject(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  try {
    return await Promise.race([work, over.promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Without the address that was connected to. */
function reasonOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code !== "") return code;
  return error instanceof Error ? error.message : String(error);
}
