import type { Clock, Logger } from "../core/ports.ts";
import type { Limits } from "../core/limits.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { PluginContext, PluginGateway } from "./api.ts";
import { Faults } from "./code.ts";
import type { Crossing, FromIsolate, Outcome, ToIsolate } from "./crossing.ts";
import { errorText, packValue, toError, unpackPlugin, unpackValue } from "./crossing.ts";
import { workerUrl } from "./worker-url.ts";

export interface IsolatedOptions {
  /** The file to import. */
  readonly path: string;
  readonly gateway: { readonly name: string; readonly version: string };
  readonly limits: Pick<Limits, "plugin_call_ms" | "plugin_grace_ms">;
  readonly clock: Clock;
  /** Until it is set up. */
  readonly log: Logger;
}

/** Calls of the gateway that wait for an answer at once. */
const ASKS_MAX = 64;
/** Where a plug-in may have functions. */
const PLACES: readonly RegExp[] = [
  /^(?:methods|tools|routes)\0[^\0]+\0run$/,
  /^(?:events|hooks)\0[^\0]+$/,
  /^setup$/,
];

/** Whether a file says that its plug-in is to run in a worker; that has to be known before its code runs. */
export function asksIsolation(text: string): boolean {
  return /\bisolate\s*:\s*true\b/.test(text);
}

/** A plug-in in a worker of its own. What it exports stands on this side; every call of it is a message. */
export class Isolated {
  /** What failed where nobody waited for it, its worker above all. */
  readonly faults = new Faults();
  readonly #options: IsolatedOptions;
  readonly #worker: Worker;
  readonly #loaded = Promise.withResolvers<unknown>();
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  #last = 0;
  #asks = 0;
  #log: Logger;
  #gateway: PluginGateway | null = null;
  #ended = false;
  #cancelAlive: () => void = () => undefined;

  constructor(options: IsolatedOptions) {
    this.#options = options;
    this.#log = options.log;
    // Whoever waits for it is told by its deadline, too.
    this.#loaded.promise.catch(() => undefined);
    this.#worker = new Worker(workerUrl("isolate"), { type: "module", ref: false });
    this.#worker.onmessage = (event: MessageEvent<FromIsolate>) => {
      try {
        this.#receive(event.data);
      } catch (cause) {
        // Its own code may send whatever it likes: that is no error of the gateway's.
        this.#lost("its worker", new Error("it sent what is no message of an isolated plug-in", { cause }));
      }
    };
    this.#worker.onerror = (event: ErrorEvent) => {
      event.preventDefault();
      // It may come with the code around it.
      const [what = event.message] = /^\w*error: .*$/im.exec(event.message) ?? [];
      this.#lost("its worker", new Error(what));
    };
    this.#worker.addEventListener("close", () => this.#lost("its worker", new Error("it ended itself")));
    const { path } = options;
    const { name, version } = options.gateway;
    this.#send({ op: "load", path, gateway: { name, version } });
  }

  /** What its file exports. @throws Error that says why that cannot be used here */
  async plugin(): Promise<unknown> {
    const packed = await this.#loaded.promise;
    const { clock, limits } = this.#options;
    if (!this.#ended) this.#cancelAlive = clock.every(limits.plugin_call_ms, () => void this.#isAlive());
    const exported = unpackPlugin(packed, (at) => this.#functionAt(at));
    if (typeof exported !== "object" || exported === null) return exported;
    // Whatever it sets up, its worker is to be ended.
    Object.assign(exported, { setup: this.#setup("setup" in exported) });
    return exported;
  }

  /** Ends its worker, whatever it does. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelAlive();
    this.#worker.terminate();
    const gone = new GatewayError("UNAVAILABLE", "the plug-in was unloaded", { details: { kind: "plugin" } });
    this.#loaded.reject(gone);
    for (const call of this.#calls.values()) call.reject(gone);
    this.#calls.clear();
  }

  #setup(hasOne: boolean) {
    return async (gateway: PluginGateway, context: PluginContext): Promise<() => Promise<void>> => {
      this.#gateway = gateway;
      this.#log = context.log;
      try {
        if (hasOne) await this.#call(["setup"], [], context);
      } catch (error) {
        this.end();
        throw error;
      }
      return () => this.#undo(context);
    };
  }

  /** Lets it undo what it set up, for a moment. */
  async #undo(context: PluginContext): Promise<void> {
    const { clock, limits } = this.#options;
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => (cancel = clock.after(limits.plugin_grace_ms, resolve)));
    try {
      await Promise.race([this.#call(["undo"], [], { log: context.log, gateway: context.gateway }), late]);
    } finally {
      cancel();
      this.end();
    }
  }

  #functionAt(at: readonly string[]): unknown {
    if (at[0] === "providers") {
      throw new Error("providers: what streams cannot run in a worker: leave isolate or the providers out");
    }
    if (!PLACES.some((place) => place.test(at.join("\0")))) {
      throw new Error(
        `${at.join(".")}: a function there cannot be called in a worker: leave it or isolate out`,
      );
    }
    return (...args: unknown[]) => this.#call(at, args.slice(0, -1), args.at(-1) as PluginContext);
  }

  async #call(
    at: readonly string[],
    args: readonly unknown[],
    context: Omit<PluginContext, "signal"> & { readonly signal?: AbortSignal },
  ): Promise<unknown> {
    const packed = await Promise.all(args.map(packValue));
    if (this.#ended) throw new Error("its worker has ended");
    const id = ++this.#last;
    const call = Promise.withResolvers<unknown>();
    this.#calls.set(id, call);
    const { signal, ...rest } = { signal: context.signal, ...context };
    const abort = (): void => this.#send({ op: "abort", id });
    try {
      this.#send({ op: "call", id, at, args: packed, context: fieldsOf(rest) });
      if (signal?.aborted === true) abort();
      signal?.addEventListener("abort", abort, { once: true });
      return await call.promise;
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#calls.delete(id);
    }
  }

  #receive(message: FromIsolate): void {
    switch (message.op) {
      case "loaded":
        return this.#loaded.resolve(message.plugin);
      case "unloadable":
        return this.#loaded.reject(toError(message.error));
      case "answer":
        return this.#settle(message.id, message.outcome);
      case "ask":
        return void this.#ask(message);
      case "log":
        return this.#log[message.level](message.fields, message.message);
      case "fault":
        return this.#lost(message.what, toError(message.error));
    }
  }

  #settle(id: number, outcome: Outcome): void {
    const call = this.#calls.get(id);
    if (outcome.ok) call?.resolve(unpackValue(outcome.value));
    else call?.reject(toError(outcome.error));
  }

  /** It uses the gateway. */
  async #ask({ id, what, args }: Extract<FromIsolate, { op: "ask" }>): Promise<void> {
    let outcome: Outcome;
    this.#asks++;
    try {
      if (this.#gateway === null) throw new Error("the gateway cannot be used before setup");
      if (this.#asks > ASKS_MAX) {
        throw new GatewayError(
          "RATE_LIMITED",
          `more than ${ASKS_MAX} calls of the gateway wait: wait for some`,
        );
      }
      const use = this.#gateway[what] as (...args: readonly unknown[]) => Promise<unknown>;
      outcome = { ok: true, value: { value: await use(...args) } satisfies Crossing };
    } catch (error) {
      outcome = { ok: false, error: errorText(error) };
    }
    this.#asks--;
    this.#send({ op: "answer", id, outcome });
  }

  #send(message: ToIsolate): void {
    if (!this.#ended) this.#worker.postMessage(message);
  }

  #lost(what: string, error: Error): void {
    if (this.#ended) return;
    this.#loaded.reject(error);
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
    this.faults.add(what, error);
    this.end();
  }

  /** One that spins with nobody waiting for it is found out, too. */
  async #isAlive(): Promise<void> {
    const { clock, limits } = this.#options;
    const cancel = clock.after(limits.plugin_call_ms, () =>
      this.#lost("its worker", new Error(`it did not answer within ${limits.plugin_call_ms} ms`)),
    );
    await this.#call(["alive"], [], { log: this.#log, gateway: {} as PluginGateway }).catch(() => undefined);
    cancel();
  }
}

/** What a context has besides what it has anyway, as far as it can be copied. */
function fieldsOf(context: object): Record<string, unknown> {
  const fields = Object.entries(context).filter(
    ([key, value]) => key !== "log" && key !== "gateway" && typeof value !== "function",
  );
  return Object.fromEntries(fields);
}
