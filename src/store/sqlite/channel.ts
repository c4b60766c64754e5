import type { Clock } from "../../core/ports.ts";
import { GatewayError } from "../../protocol/errors.ts";
import type { Fault, Reply } from "./threads.ts";

export interface ChannelOptions {
  readonly url: URL;
  readonly clock: Clock;
  /** A worker that owes an answer and says nothing for so long is lost. */
  readonly silence_ms: number;
  /** Called once, before the requests that wait are rejected. */
  readonly onLost: (reason: string) => void;
  /** Told what the worker does before it answers. */
  readonly onDoing?: (doing: string) => void;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  /** Takes as long as it takes: opening may have a long log to recover. */
  readonly patient: boolean;
}

/** Requests to a worker, answered in order. A worker that is lost stays lost: every request rejects. */
export class Channel<Request> {
  readonly #options: ChannelOptions;
  readonly #worker: Worker;
  #waiting: Waiting[] = [];
  #cancel: (() => void) | null = null;
  #ended: string | null = null;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#worker = new Worker(options.url, { type: "module" });
    this.#worker.onmessage = (event: MessageEvent<Reply>) => this.#receive(event.data);
    this.#worker.onerror = (event: ErrorEvent) => this.#lose(event.message);
    this.#worker.addEventListener("close", () => this.#lose("the worker ended"));
  }

  /** Rejects with a GatewayError where the request failed and changed nothing, with any other error where the worker is lost. */
  ask<T>(request: Request, patient = false): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended !== null) return reject(new Error(this.#ended));
      this.#waiting.push({ resolve: resolve as (value: unknown) => void, reject, patient });
      this.#worker.postMessage(request);
      if (this.#waiting.length === 1) this.#watch();
      return undefined;
    });
  }

  /** Ends the worker. Idempotent; what still waits is rejected. */
  close(): void {
    this.#end("the store is closed");
  }

  #receive(reply: Reply): void {
    if ("lost" in reply) return this.#lose(reply.lost);
    if ("doing" in reply) return this.#options.onDoing?.(reply.doing);
    const waiting = this.#waiting.shift();
    this.#watch();
    if (reply.ok) waiting?.resolve(reply.value);
    else waiting?.reject(toError(reply.fault));
    return undefined;
  }

  #watch(): void {
    this.#cancel?.();
    this.#cancel = null;
    const [first] = this.#waiting;
    if (first === undefined || first.patient) return;
    const { clock, silence_ms } = this.#options;
    this.#cancel = clock.after(silence_ms, () => this.#lose(`no answer for ${silence_ms} ms`));
  }

  #lose(reason: string): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    this.#options.onLost(reason);
    this.#stop(reason);
  }

  #end(reason: string): void {
    if (this.#ended === null) this.#ended = reason;
    this.#stop(reason);
  }

  #stop(reason: string): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(reason));
  }
}

function toError({ message, refused, details }: Fault): GatewayError {
  if (details !== null) return new GatewayError("UNAVAILABLE", message, { details });
  const cause = new Error(message);
  if (refused === null) return new GatewayError("UNAVAILABLE", "the store cannot be read", { cause });
  return new GatewayError("UNAVAILABLE", `storage refuses writes: ${refused}`, {
    details: { kind: "storage", refused },
    cause,
  });
}
