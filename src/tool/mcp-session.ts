import type { Client } from "@modelcontextprotocol/client";
import type { ToolTransport } from "./mcp-link.ts";
import { NotSent } from "./mcp-link.ts";
import { isRecord } from "./mcp-result.ts";
import { TOOLS_MAX } from "./mcp-tools.ts";

/** Time for a server to introduce itself, and for a page of its tools. */
const START_MS = 60_000;
/** A call is bounded by who makes it. */
const UNBOUNDED_MS = 2_147_483_647;
const PAGES_MAX = 64;
const CURSOR_CHARS = 4_096;

/** Takes an answer as it came: what is in it is looked at by who asked, bit by bit. */
const AS_IT_CAME = {
  "~standard": { version: 1, vendor: "agentbus", validate: (value: unknown) => ({ value }) },
} as const;

export interface SessionOptions {
  readonly client: Client;
  readonly transport: ToolTransport;
  /** The server says that its tools are others now; as often as it likes. */
  readonly changed: () => void;
  /** It is over, by whomever. At most once. */
  readonly ended: () => void;
  /** Something that does not fit was heard. */
  readonly odd: (error: Error) => void;
}

/** One introduction to a tool server, and what is asked of it until it ends. */
export class ServerSession {
  readonly #client: Client;
  readonly #transport: ToolTransport;
  #calls = 0;
  #isRetired = false;

  constructor({ client, transport, changed, ended, odd }: SessionOptions) {
    this.#client = client;
    this.#transport = transport;
    client.onclose = ended;
    client.onerror = odd;
    client.setNotificationHandler("notifications/tools/list_changed", changed);
  }

  /** Why it ended, or cannot be used; null: nothing is known. */
  get trouble(): string | null {
    return this.#transport.trouble;
  }
  get hasId(): boolean {
    return this.#transport.sessionId !== undefined;
  }

  open(signal: AbortSignal): Promise<void> {
    return this.#client.connect(this.#transport, { timeout: START_MS, signal });
  }

  /** What the server lists, all pages, one more than can be used. */
  async list(signal: AbortSignal): Promise<unknown[]> {
    if (this.#client.getServerCapabilities()?.tools === undefined) return [];
    const tools: unknown[] = [];
    const seen = new Set<string>();
    let cursor: string | null = null;
    for (let page = 0; page < PAGES_MAX && tools.length <= TOOLS_MAX; page++) {
      const params: Record<string, unknown> = cursor === null ? {} : { cursor };
      const answer = await this.#ask("tools/list", params, signal, START_MS);
      if (!isRecord(answer) || !Array.isArray(answer["tools"])) {
        throw new Error("it lists its tools in a way that cannot be read");
      }
      for (const tool of answer["tools"].slice(0, TOOLS_MAX + 1)) tools.push(tool);
      const next = answer["nextCursor"];
      if (typeof next !== "string" || next === "" || next.length > CURSOR_CHARS || seen.has(next)) break;
      seen.add(next);
      cursor = next;
    }
    return tools;
  }

  /** Its answer as it came. An abort is told to the server. */
  async call(
    name: string,
    args: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
    traceparent?: string,
  ): Promise<unknown> {
    this.#calls++;
    try {
      const meta = traceparent !== undefined && { _meta: { traceparent } };
      return await this.#ask("tools/call", { name, arguments: args, ...meta }, signal, UNBOUNDED_MS);
    } finally {
      this.#calls--;
      if (this.#isRetired && this.#calls === 0) void this.close();
    }
  }

  /** Asks nothing more of it, and ends it when what was asked is answered. */
  retire(): void {
    this.#isRetired = true;
    if (this.#calls === 0) void this.close();
  }

  async close(): Promise<void> {
    await this.#client.close().catch(() => undefined);
    // A client that never came to know its transport does not close it.
    await this.#transport.close();
  }

  kill(): void {
    this.#transport.kill();
  }

  async #ask(
    method: string,
    params: Record<string, unknown>,
    signal: AbortSignal,
    timeout: number,
  ): Promise<unknown> {
    if (this.#client.transport === undefined) throw new NotSent("it is not connected");
    return this.#client.request({ method, params }, AS_IT_CAME, { signal, timeout });
  }
}
