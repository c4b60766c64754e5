import type { Limits } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Code } from "./code.ts";
import type { Plugin, PluginContext, PluginGateway } from "./api.ts";

export interface RunningOptions {
  readonly plugin: Plugin;
  readonly log: Logger;
  readonly clock: Clock;
  readonly limits: Pick<Limits, "plugin_call_ms" | "plugin_load_ms" | "plugin_stream_ms" | "plugin_grace_ms">;
  /** Made for it; calls it makes end with the signal. */
  readonly gateway: (signal: AbortSignal) => PluginGateway;
  /** It threw what is no answer, or did not settle. Must not throw. */
  readonly onFault: (what: string, error: Error) => void;
  /** Ends with it. */
  readonly code: Code;
}

/** How a call is bounded, and what its errors are. */
export interface CallBounds {
  readonly deadline_ms?: number;
  /** Whoever waits for it does not any more. */
  readonly signal?: AbortSignal;
  /** Any error it throws is an answer, not a fault. */
  readonly may_throw?: boolean;
}

/** A plug-in that is set up: every call into it is bounded, and ends with it. */
export class Running {
  readonly plugin: Plugin;
  readonly log: Logger;
  readonly gateway: PluginGateway;
  readonly #options: RunningOptions;
  readonly #ending = new AbortController();
  readonly #open = new Set<OpenWork>();
  #undo: (() => unknown) | null = null;
  #onIdle: (() => void) | null = null;

  constructor(options: RunningOptions) {
    this.#options = options;
    this.plugin = options.plugin;
    this.log = options.log;
    this.gateway = options.gateway(this.#ending.signal);
  }

  get name(): string {
    return this.plugin.name;
  }

  /** Longest silence of a stream of it. */
  get silence_ms(): number {
    return this.#options.limits.plugin_stream_ms;
  }

  get hasEnded(): boolean {
    return this.#ending.signal.aborted;
  }

  /** @throws Error what its setup throws, or that it did not settle */
  async setUp(): Promise<void> {
    const { plugin } = this;
    if (plugin.setup === undefined) return;
    const { plugin_load_ms } = this.#options.limits;
    const bounds = { deadline_ms: plugin_load_ms, may_throw: true };
    const undo = await this.call("setup", (context) => plugin.setup?.(this.gateway, context), bounds);
    if (typeof undo === "function") this.#undo = undo;
    else if (undo !== undefined) throw new Error("setup: returns a function that undoes it, or nothing");
  }

  /**
   * Calls one of its functions. @throws GatewayError what it answers, TIMEOUT past the deadline, UNAVAILABLE when it is
   * unloaded meanwhile, INTERNAL_ERROR for a fault
   */
  async call<T>(
    what: string,
    work: (context: PluginContext) => T | Promise<T>,
    bounds: CallBounds = {},
  ): Promise<T> {
    if (this.hasEnded) throw this.#unloaded();
    const open = new OpenWork(this.log, this.gateway);
    this.#open.add(open);
    let begun: T | Promise<T>;
    try {
      begun = this.#options.code.within(() => work(open));
    } catch (error) {
      this.#close(open);
      throw this.#answerOf(what, error, bounds);
    }
    if (!isPromise(begun)) {
      this.#close(open);
      return begun;
    }
    try {
      return await this.#settled(what, Promise.resolve(begun), open, bounds);
    } catch (error) {
      throw this.#answerOf(what, error, bounds);
    }
  }

  /** The value of a promise in its time. The caller waits no longer than the deadline; the plug-in gets a little more. */
  async #settled<T>(what: string, begun: Promise<T>, open: OpenWork, bounds: CallBounds): Promise<T> {
    const { clock, limits } = this.#options;
    const { deadline_ms = limits.plugin_call_ms, signal } = bounds;
    const over = Promise.withResolvers<never>();
    let cancel = clock.after(deadline_ms, () => {
      over.reject(new GatewayError("TIMEOUT", `${this.name}: ${what} took longer than ${deadline_ms} ms`));
      open.abort();
      cancel = clock.after(limits.plugin_grace_ms, () => {
        this.#close(open);
        this.fault(what, new Error(`did not settle within ${deadline_ms} ms`));
      });
    });
    const leave = (): void => open.abort();
    if (signal?.aborted === true) leave();
    signal?.addEventListener("abort", leave, { once: true });
    open.onEnd = () => over.reject(this.#unloaded());
    const settled = (): void => {
      cancel();
      signal?.removeEventListener("abort", leave);
      this.#close(open);
    };
    begun.then(settled, settled);
    return Promise.race([begun, over.promise]);
  }

  #answerOf(what: string, error: unknown, { may_throw = false, signal }: CallBounds): unknown {
    if (error instanceof GatewayError || may_throw) return error;
    // Who was told to stop may say so in whatever way.
    if (this.hasEnded) return this.#unloaded();
    if (signal?.aborted === true) return this.#stopped(what);
    this.fault(what, error instanceof Error ? error : new Error(String(error)));
    return new GatewayError("INTERNAL_ERROR", `the plug-in ${this.name} failed; the log says how`);
  }

  /** Every call into its code goes through it or `call`, synchronously: answers and throws what `work` does. */
  within<T>(work: () => T): T {
    return this.#options.code.within(work);
  }

  /** As the promise, or undefined once it is unloaded: its timers are gone, so that it may never settle. */
  async untilEnd<T>(begun: Promise<T>): Promise<T | undefined> {
    const open = new OpenWork(this.log, this.gateway);
    const over = Promise.withResolvers<undefined>();
    open.onEnd = () => over.resolve(undefined);
    this.#open.add(open);
    try {
      return await Promise.race([begun, over.promise]);
    } finally {
      this.#close(open);
    }
  }

  /** It is not retired before the answer is called (idempotent). */
  hold(): () => void {
    const open = new OpenWork(this.log, this.gateway);
    this.#open.add(open);
    return () => this.#close(open);
  }

  /** Calls what answers at once and must not fail; `otherwise` where it does. */
  attempt<T>(what: string, work: () => T, otherwise: T): T {
    if (this.hasEnded) return otherwise;
    try {
      return this.#options.code.within(work);
    } catch (error) {
      this.fault(what, error instanceof Error ? error : new Error(String(error)));
      return otherwise;
    }
  }

  /** It did what no plug-in may do. */
  fault(what: string, error: Error): void {
    if (!this.hasEnded) this.#options.onFault(what, error);
  }

  #unloaded(): GatewayError {
    return new GatewayError("UNAVAILABLE", `the plug-in ${this.name} was unloaded`, {
      details: { kind: "plugin" },
    });
  }

  #stopped(what: string): GatewayError {
    return new GatewayError("UNAVAILABLE", `${this.name}: ${what} was stopped`, {
      details: { kind: "plugin" },
    });
  }

  #close(open: OpenWork): void {
    this.#open.delete(open);
    if (this.#open.size === 0) this.#onIdle?.();
  }

  /** Lets what is open finish, each within its deadline, then ends it. */
  async retire(): Promise<void> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await this.end();
  }

  /** Stops what is open and undoes its setup. Idempotent. Never rejects. */
  async end(): Promise<void> {
    if (this.hasEnded) return;
    const undo = this.#undo;
    this.#ending.abort();
    for (const open of this.#open) open.end();
    this.#open.clear();
    this.#onIdle?.();
    if (undo !== null) await this.#undoSetup(undo);
    this.#options.code.end();
  }

  async #undoSetup(undo: () => unknown): Promise<void> {
    const { clock, limits } = this.#options;
    let cancel = (): void => undefined;
    const late = new Promise<never>((_resolve, reject) => {
      cancel = clock.after(limits.plugin_load_ms, () =>
        reject(new Error(`did not settle within ${limits.plugin_load_ms} ms`)),
      );
    });
    try {
      await Promise.race([this.#options.code.within(undo), late]);
    } catch (error) {
      this.log.warn({ err: error }, "what undoes the setup of a plug-in failed");
    } finally {
      cancel();
    }
  }
}

/** One call, as it is handed to the plug-in; its signal is made when it is asked for. */
class OpenWork implements PluginContext {
  readonly log: Logger;
  readonly gateway: PluginGateway;
  onEnd: () => void = () => undefined;
  #abort: AbortController | null = null;
  #isOver = false;

  constructor(log: Logger, gateway: PluginGateway) {
    this.log = log;
    this.gateway = gateway;
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#isOver) this.#abort.abort();
    return this.#abort.signal;
  }

  abort(): void {
    this.#isOver = true;
    this.#abort?.abort();
  }

  /** The plug-in is unloaded. */
  end(): void {
    this.abort();
    this.onEnd();
  }
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
