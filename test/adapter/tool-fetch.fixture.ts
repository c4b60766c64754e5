import { afterAll, afterEach, beforeEach } from "bun:test";
import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import { addressMatcher } from "../../src/auth/address.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createReach } from "../../src/tool/fetch-reach.ts";
import { httpFetchTool } from "../../src/tool/http-fetch.ts";

type Handler = (request: Request) => Response | Promise<Response>;

/** A web site on this machine that answers as the test says. */
export interface Site {
  readonly port: number;
  /** Its address and port, which `fetcher` allows unless told otherwise. */
  readonly open: string;
  readonly asked: {
    readonly url: string;
    readonly method: string;
    readonly headers: Record<string, string>;
  }[];
  handler: Handler;
  fetcher(options?: FetcherOptions): Fetcher;
  /** Another server, that says what it likes to whoever asks; its port. */
  raw(speak: (socket: Socket) => void): Promise<number>;
}

export interface FetcherOptions {
  readonly allow?: readonly string[];
  /** What each question for a name is answered, in their order; the last one again and again. */
  readonly found?: readonly (readonly string[])[];
  readonly fetch_bytes?: number;
}

export interface Fetcher {
  /** The names that were asked for. */
  readonly resolved: string[];
  /** What the model is told of a URL. */
  get(url: string, signal?: AbortSignal, more?: Record<string, unknown>): Promise<string>;
}

/** Call it once in a file. */
export function openSite(): Site {
  const sockets: Server[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch(request) {
      site.asked.push({ url: request.url, method: request.method, headers: request.headers.toJSON() });
      return site.handler(request);
    },
  });
  const port = Number(server.port);
  const open = `127.0.0.1:${port}`;
  const site: Site = {
    port,
    open,
    asked: [],
    handler: () => new Response("hello"),
    fetcher: (options = {}) => createFetcher({ allow: [open], ...options }),
    async raw(speak) {
      const raw = createServer((socket) => {
        socket.on("error", () => undefined);
        socket.once("data", () => speak(socket));
      });
      sockets.push(raw);
      await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", resolve));
      const address = raw.address();
      return typeof address === "object" && address !== null ? address.port : 0;
    },
  };
  beforeEach(() => {
    site.asked.length = 0;
    site.handler = () => new Response("hello");
  });
  afterEach(() => {
    for (const each of sockets.splice(0)) each.close();
  });
  afterAll(() => server.stop(true));
  return site;
}

function createFetcher({ allow = [], found = [["127.0.0.1"]], ...bounds }: FetcherOptions): Fetcher {
  const resolved: string[] = [];
  const tool = httpFetchTool({
    reach: createReach(allow, addressMatcher),
    resolve: async (host) => {
      const answer = found[Math.min(resolved.length, found.length - 1)] ?? [];
      resolved.push(host);
      return answer;
    },
    limits: { ...DEFAULT_LIMITS, ...bounds },
  });
  return {
    resolved,
    get: (url, signal = new AbortController().signal, more = {}) =>
      tool.run({ url, ...more }, { signal, session_id: "s", run_id: "r" }),
  };
}
