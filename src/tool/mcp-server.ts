import type { Clock, Logger, Tool, ToolContext, ToolServerState } from "../core/ports.ts";
import { SampledLog } from "../core/sampled-log.ts";
import { Slots } from "../core/slots.ts";
import { callFailure, reasonOf, statusOf } from "./mcp-failure.ts";
import { NotSent } from "./mcp-link.ts";
import type { Mask } from "./mcp-mask.ts";
import { resultText } from "./mcp-result.ts";
import type { ServerSession } from "./mcp-session.ts";
import type { ServedTool } from "./mcp-tools.ts";
import { readTools } from "./mcp-tools.ts";

export interface SessionEvents {
  readonly changed: () => void;
  readonly ended: () => void;
  readonly odd: (error: Error) => void;
}

/** What a server keeps with the other side. */
export type Session = Pick<
  ServerSession,
  "trouble" | "hasId" | "open" | "list" | "call" | "retire" | "close" | "kill"
>;

export interface McpServerOptions {
  readonly name: string;
  /** A session that is not open yet. Rejects where there can be none. */
  readonly connect: (events: SessionEvents) => Promise<Session>;
  readonly mask: Mask;
  readonly clock: Clock;
  readonly log: Logger;
  /** In [0, 1). Default Math.random. */
  readonly random?: () => number;
}

const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 60_000;
/** A session that held so long makes the next attempt immediate. */
const STABLE_MS = 30_000;
/** How long a call waits for a server that is on its way back. */
const WAIT_MS = 10_000;
/** Lists are asked for no more often than this, however often they change. */
const LIST_MS = 1_000;
/** Calls at once; more wait. They share the process's connections with the models. */
const CALLS_MAX = 32;

/** There is no session, and soon there will be none. */
class Unusable extends Error {}

/** One tool server: keeps a session with it as long as it runs, and offers what it lists. */
export class McpServer {
  readonly name: string;
  readonly #options: McpServerOptions;
  readonly #sampled: SampledLog;
  readonly #slots = new Slots(CALLS_MAX);
  readonly #stopping = new AbortController();
  #state: ToolServerState["state"] = "connecting";
  #reason = "";
  #tools: readonly Tool[] = [];
  #session: Session | null = null;
  /** What is left of it where it was retired. */
  #retired: Session | null = null;
  #isReady = false;
  #readySince = 0;
  /** Attempts without success since the server was last there for long. */
  #failures = 0;
  /** Settles with the attempt that calls wait for. */
  #attempt = Promise.withResolvers<void>();
  #cancelRetry: () => void = () => undefined;
  #cancelList: () => void = () => undefined;
  #isListing = false;
  #isListOld = false;
  #listedAt = Number.NEGATIVE_INFINITY;

  constructor(options: McpServerOptions) {
    this.name = options.name;
    this.#options = options;
    this.#sampled = new SampledLog(options.clock, options.log);
  }

  /** Empty until it was there for the first time, and after it could not be reached. */
  tools(): readonly Tool[] {
    return this.#tools;
  }

  state(): ToolServerState {
    const reason = this.#reason === "" ? {} : { reason: this.#reason };
    return { name: this.name, state: this.#state, tools: this.#tools.length, ...reason };
  }

  /** Returns at once; the server appears when it is there. */
  start(): void {
    void this.#connect();
  }

  /** Resolves when nothing of it is left. */
  async stop(): Promise<void> {
    const session = this.#leave();
    await Promise.all([session?.close(), this.#retired?.close()]);
  }

  /** Offers nothing any more, and ends when what was asked of it is answered. */
  retire(): void {
    this.#retired = this.#leave();
    this.#retired?.retire();
  }

  #leave(): Session | null {
    this.#stopping.abort();
    this.#cancelRetry();
    this.#cancelList();
    this.#state = "stopped";
    this.#reason = "";
    this.#tools = [];
    this.#attempt.resolve();
    const session = this.#session;
    this.#session = null;
    this.#isReady = false;
    return session;
  }

  kill(): void {
    this.#session?.kill();
    this.#retired?.kill();
  }

  async #connect(): Promise<void> {
    const { signal } = this.#stopping;
    let session: Session | null = null;
    try {
      session = await this.#options.connect({
        changed: () => this.#changed(session),
        ended: () => this.#lost(session, session?.trouble ?? "it ended the connection"),
        odd: () => this.#sampled.warn("odd", {}, "a tool server said something that does not fit"),
      });
      if (signal.aborted) return await session.close();
      this.#session = session;
      await session.open(signal);
      const { tools, left_out } = readTools(this.name, await session.list(signal));
      if (this.#session !== session) return;
      this.#ready(tools, left_out);
    } catch (error) {
      if (signal.aborted) return session?.close();
      this.#failed(session, session?.trouble ?? reasonOf(error, this.#options.mask));
    }
  }

  #ready(tools: readonly ServedTool[], left_out: string): void {
    const { clock, log } = this.#options;
    this.#isReady = true;
    this.#readySince = clock.monotonic();
    this.#state = "ready";
    this.#offer(tools, left_out);
    log.info({ tools: tools.length, ...(left_out !== "" && { left_out }) }, "a tool server is ready");
    this.#attempt.resolve();
    if (this.#isListOld) this.#list();
  }

  #offer(tools: readonly ServedTool[], left_out: string): void {
    this.#reason = left_out;
    this.#listedAt = this.#options.clock.monotonic();
    this.#tools = tools.map(({ original, ...spec }): Tool => {
      const source = `mcp:${this.name}`;
      return { ...spec, source, run: (args, context) => this.#call(original, args, context) };
    });
  }

  #failed(session: Session | null, reason: string): void {
    this.#session = null;
    this.#isReady = false;
    void session?.close();
    this.#state = "failed";
    this.#reason = reason;
    this.#tools = [];
    this.#sampled.warn("failed", { reason }, "a tool server cannot be used; it is tried again");
    this.#attempt.resolve();
    this.#attempt = Promise.withResolvers<void>();
    this.#failures++;
    this.#retry(this.#delay());
  }

  /** A session that was ready is gone. Its tools stay listed while the next one is made. */
  #lost(session: Session | null, reason: string): void {
    if (session === null || this.#session !== session || !this.#isReady) return;
    const { clock } = this.#options;
    this.#session = null;
    this.#isReady = false;
    this.#cancelList();
    session.retire();
    this.#state = "connecting";
    this.#reason = reason;
    this.#sampled.warn("lost", { reason }, "a tool server is gone; it is tried again");
    if (clock.monotonic() - this.#readySince > STABLE_MS) this.#failures = 0;
    this.#attempt = Promise.withResolvers<void>();
    const delay = this.#failures === 0 ? 0 : this.#delay();
    this.#failures++;
    this.#retry(delay);
  }

  #delay(): number {
    const { random = Math.random } = this.#options;
    const delay = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(this.#failures - 1, 10));
    // Spread, so that servers that went together do not come back together.
    return delay * (0.5 + random() / 2);
  }

  #retry(delay: number): void {
    this.#cancelRetry();
    this.#cancelRetry = this.#options.clock.after(delay, () => void this.#connect());
  }

  #changed(session: Session | null): void {
    if (session === null || this.#session !== session) return;
    this.#isListOld = true;
    if (this.#isReady && !this.#isListing) this.#list();
  }

  /** Asks for the tools again, after a while where that was done just now. */
  #list(): void {
    const { clock } = this.#options;
    this.#isListing = true;
    this.#cancelList = clock.after(this.#listedAt + LIST_MS - clock.monotonic(), () => void this.#listNow());
  }

  async #listNow(): Promise<void> {
    const session = this.#session;
    this.#isListOld = false;
    try {
      if (session === null || !this.#isReady) return;
      const { tools, left_out } = readTools(this.name, await session.list(this.#stopping.signal));
      if (this.#session === session) this.#offer(tools, left_out);
    } catch (error) {
      // What it listed before is offered on: a call of what is gone is answered by the server.
      if (this.#session === session) this.#listedAt = this.#options.clock.monotonic();
      this.#sampled.warn(
        "list",
        { reason: reasonOf(error, this.#options.mask) },
        "a tool server does not say which tools it has now",
      );
    } finally {
      this.#isListing = false;
      if (this.#isListOld && this.#session === session && this.#isReady) this.#list();
    }
  }

  async #call(
    original: string,
    args: Readonly<Record<string, unknown>>,
    { signal, traceparent }: ToolContext,
  ): Promise<string> {
    const session = await this.#usable(signal);
    const ask = (by: Session): Promise<unknown> =>
      this.#slots.use(() => by.call(original, args, signal, traceparent));
    let result: unknown;
    try {
      result = await ask(session).catch((error: unknown) => this.#again(error, session, ask, signal));
    } catch (error) {
      throw error instanceof Unusable
        ? error
        : new Error(callFailure(this.name, error, this.#options.mask), { cause: error });
    }
    return resultText(result);
  }

  /** Once more in a new session, where the call cannot have been made in the old one. */
  async #again(
    error: unknown,
    session: Session,
    ask: (session: Session) => Promise<unknown>,
    signal: AbortSignal,
  ): Promise<unknown> {
    if (signal.aborted) throw error;
    const isForgotten = statusOf(error) === 404 && session.hasId;
    if (isForgotten || statusOf(error) === 401 || error instanceof NotSent)
      this.#lost(session, reasonOf(error, this.#options.mask));
    if (!isForgotten && !(error instanceof NotSent)) throw error;
    return ask(await this.#usable(signal));
  }

  /** The session with the server, soon. */
  async #usable(signal: AbortSignal): Promise<Session> {
    if (!this.#isReady && this.#state === "connecting") {
      const over = Promise.withResolvers<void>();
      const cancel = this.#options.clock.after(WAIT_MS, () => over.resolve());
      const stop = (): void => over.resolve();
      signal.addEventListener("abort", stop, { once: true });
      await Promise.race([this.#attempt.promise, over.promise]);
      signal.removeEventListener("abort", stop);
      cancel();
    }
    if (this.#session !== null && this.#isReady) return this.#session;
    const because = this.#reason === "" ? "" : `: ${this.#reason}`;
    throw new Unusable(`the tool server ${this.name} is ${this.#state}${because}; the tool was not called`);
  }
}
