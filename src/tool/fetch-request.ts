import { lookup } from "node:dns/promises";
import type { IncomingMessage } from "node:http";
import { request as plain } from "node:http";
import { request as encrypted } from "node:https";
import { isIP } from "node:net";
import { hostOf, portOf } from "./fetch-reach.ts";

export interface Asked {
  readonly url: URL;
  /** What is connected to, whatever the name of the host means by then. */
  readonly address: string;
  readonly method: "GET" | "HEAD" | "POST";
  readonly signal: AbortSignal;
  /** Besides those of every request. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

const HEADERS = {
  Accept: "text/html, text/plain, application/json;q=0.9, */*;q=0.5",
  "Accept-Encoding": "gzip, br",
  "User-Agent": "agentbus",
  // A connection that is used again would be one that was made for another name.
  Connection: "close",
};

/**
 * One request, to the address and no other; a redirect is an answer like any other. No proxy of the environment is used, for
 * it would resolve the name again. Rejects when no answer begins.
 */
export function ask({ url, address, method, signal, headers = {}, body }: Asked): Promise<IncomingMessage> {
  const host = hostOf(url);
  const options = {
    host: address,
    port: portOf(url),
    path: `${url.pathname}${url.search}`,
    method,
    headers: {
      Host: url.host,
      ...HEADERS,
      ...headers,
      ...(body !== undefined && { "Content-Length": String(Buffer.byteLength(body)) }),
    },
    agent: false,
    signal,
  } as const;
  return new Promise((resolve, reject) => {
    const begun = (response: IncomingMessage): void => {
      // Who reads it is told; who does not has no use for it.
      response.on("error", () => undefined);
      resolve(response);
    };
    const sent =
      url.protocol === "http:"
        ? plain(options, begun)
        : // Who answers has to prove the name, not the address.
          encrypted({ ...options, ...(isIP(host) === 0 && { servername: host }) }, begun);
    sent.on("error", reject);
    sent.end(body);
  });
}

/** The addresses of a name as this machine finds them, those of IPv4 first: more hosts are reached by them. */
export async function resolveHost(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true });
  return found.sort((a, b) => a.family - b.family).map(({ address }) => address);
}
