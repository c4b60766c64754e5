/** One thing a scripted answer does, in order. */
export type Action =
  | { readonly kind: "write"; readonly text: string; readonly token?: true }
  | { readonly kind: "wait"; readonly ms: number }
  /** The same text again and again, as fast as it is read. */
  | { readonly kind: "pour"; readonly text: string }
  | { readonly kind: "hang" }
  | { readonly kind: Ending };
/** How the server itself ends an answer: cleanly, by RST, by FIN in the middle of the body. */
export type Ending = "end" | "reset" | "drop";

/** What is sent before the body: the head of a stream, a whole answer, or nothing at all. */
export type Opening =
  | { readonly kind: "stream" }
  | {
      readonly kind: "whole";
      readonly status: number;
      readonly headers: Record<string, string>;
      readonly body: string;
    }
  | { readonly kind: "silence" };

export interface ScriptUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly [more: string]: unknown;
}
export interface Spread {
  /** Into how many deltas the text is cut, by UTF-16 units: a pair may be split, as real servers do. */
  readonly chunks?: number;
  /** Wait before each delta; else what `pace` said. */
  readonly everyMs?: number;
}

type Part = (frame: (choices: unknown) => string) => Iterable<Action>;

/** A scripted answer, built by chaining. Without another ending it finishes as a model does: reason, usage, [DONE]. */
export class Script {
  readonly #parts: Part[] = [];
  readonly #calls: unknown[] = [];
  readonly #said = { content: "", reasoning: "", finish: "stop", finished: false };
  #opening: Opening | { readonly kind: "document" } = { kind: "stream" };
  #usage: ScriptUsage | null = null;
  #usageLateMs = 0;
  #paceMs = 0;
  #ended = false;

  text(text: string, spread: Spread = {}): this {
    this.#said.content += text;
    return this.#deltas("content", cut(text, spread.chunks ?? 1), spread);
  }

  /** `t0 t1 t2 …`, one delta each. */
  tokens(count: number, spread: Omit<Spread, "chunks"> = {}): this {
    const tokens = Array.from({ length: count }, (_, index) => (index === 0 ? "t0" : ` t${index}`));
    this.#said.content += tokens.join("");
    return this.#deltas("content", tokens, spread);
  }

  reasoning(
    text: string,
    spread: Spread & { readonly field?: "reasoning_content" | "reasoning" } = {},
  ): this {
    this.#said.reasoning += text;
    return this.#deltas(spread.field ?? "reasoning_content", cut(text, spread.chunks ?? 1), spread);
  }

  /** A call of a tool, its arguments in pieces. The answer then ends with the reason tool_calls. */
  tool(name: string, args: unknown, spread: Spread & { readonly id?: string } = {}): this {
    const index = this.#calls.length;
    const id = spread.id ?? `call_${index}`;
    const text = typeof args === "string" ? args : JSON.stringify(args);
    this.#calls.push({ id, type: "function", function: { name, arguments: text } });
    if (!this.#said.finished) this.#said.finish = "tool_calls";
    const [first = "", ...rest] = cut(text, spread.chunks ?? 1);
    const head = { index, id, type: "function", function: { name, arguments: first } };
    const pieces = [head, ...rest.map((piece) => ({ index, function: { arguments: piece } }))];
    const ms = spread.everyMs ?? this.#paceMs;
    return this.#add(function* (frame) {
      for (const piece of pieces) {
        if (ms > 0) yield { kind: "wait", ms };
        yield { kind: "write", text: frame(choice({ tool_calls: [piece] })) };
      }
    });
  }

  /** A delta of any shape, e.g. `{ refusal: "no" }`. */
  delta(delta: Record<string, unknown>): this {
    return this.#add((frame) => [{ kind: "write", text: frame(choice(delta)), token: true }]);
  }

  /** Any text of the body, as it is. */
  raw(text: string): this {
    return this.#add(() => [{ kind: "write", text }]);
  }

  /** A line that is not JSON. */
  malformed(): this {
    return this.raw('data: {"choices":[{"del\n\n');
  }

  /** Waits before each delta from here on. */
  pace(ms: number): this {
    this.#paceMs = ms;
    return this;
  }

  wait(ms: number): this {
    return this.#add(() => [{ kind: "wait", ms }]);
  }

  /** Sent after the finish reason, in a chunk with no choices. */
  usage(usage: ScriptUsage, options: { readonly lateMs?: number } = {}): this {
    this.#usage = usage;
    this.#usageLateMs = options.lateMs ?? 0;
    return this;
  }

  finish(reason: string): this {
    this.#said.finish = reason;
    this.#said.finished = true;
    return this.#add((frame) => [{ kind: "write", text: frame(choice({}, reason)) }]);
  }

  /** Nothing more comes and the socket stays open. */
  hang(): this {
    return this.#end({ kind: "hang" });
  }

  /** A clean end of the body, without finish reason or [DONE]. */
  cut(): this {
    return this.#end({ kind: "end" });
  }

  /** A TCP reset. */
  reset(): this {
    return this.#end({ kind: "reset" });
  }

  /** The socket is closed in the middle of the body. */
  drop(): this {
    return this.#end({ kind: "drop" });
  }

  /** `data: {"error": …}`, then the end. */
  errorInStream(error: string | Record<string, unknown>): this {
    const text = sse({ error: typeof error === "string" ? { message: error } : error });
    return this.#end({ kind: "write", text }, { kind: "end" });
  }

  /** Written without end: a line that never ends, or tokens that never stop. */
  pour(text: string): this {
    return this.#end({ kind: "pour", text });
  }

  /** Not even a status line comes; without another ending, nothing ever does. */
  silence(): this {
    this.#opening = { kind: "silence" };
    return this;
  }

  /** Another answer than a stream. Without a body, an error object as OpenAI sends it. */
  status(
    status: number,
    options: {
      readonly retryAfter?: number | string;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    } = {},
  ): this {
    const retry = options.retryAfter === undefined ? {} : { "retry-after": String(options.retryAfter) };
    const headers = { "content-type": "application/json", ...retry, ...options.headers };
    const body = options.body ?? JSON.stringify({ error: { message: `answered ${status}`, type: "test" } });
    this.#opening = { kind: "whole", status, headers, body };
    return this;
  }

  /** The answer as one JSON document, as servers send it that do not stream. */
  whole(): this {
    if (this.#opening.kind === "stream") this.#opening = { kind: "document" };
    return this;
  }

  opening(model: string): Opening {
    if (this.#opening.kind !== "document") return this.#opening;
    const { content, reasoning, finish } = this.#said;
    const message = {
      role: "assistant",
      content,
      ...(reasoning !== "" && { reasoning_content: reasoning }),
      ...(this.#calls.length > 0 && { tool_calls: this.#calls }),
    };
    const choices = [{ index: 0, message, finish_reason: finish }];
    const body = {
      id: "chatcmpl-0",
      object: "chat.completion",
      created: 0,
      model,
      choices,
      usage: this.#usage,
    };
    return {
      kind: "whole",
      status: 200,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    };
  }

  *actions(model: string): Generator<Action, void> {
    const frame = (choices: unknown, usage: ScriptUsage | null = null) =>
      sse({
        id: "chatcmpl-0",
        object: "chat.completion.chunk",
        created: 0,
        model,
        choices,
        ...(usage && { usage }),
      });
    yield { kind: "write", text: frame(choice({ role: "assistant", content: "" })) };
    for (const part of this.#parts) yield* part(frame);
    if (this.#ended) return;
    if (this.#opening.kind === "silence") return yield { kind: "hang" };
    if (!this.#said.finished) yield { kind: "write", text: frame(choice({}, this.#said.finish)) };
    if (this.#usageLateMs > 0) yield { kind: "wait", ms: this.#usageLateMs };
    if (this.#usage !== null) yield { kind: "write", text: frame([], this.#usage) };
    yield { kind: "write", text: "data: [DONE]\n\n" };
    yield { kind: "end" };
  }

  #add(part: Part): this {
    this.#parts.push(part);
    return this;
  }

  #end(...actions: Action[]): this {
    this.#ended = true;
    return this.#add(() => actions);
  }

  #deltas(field: string, pieces: readonly string[], spread: Spread): this {
    const ms = spread.everyMs ?? this.#paceMs;
    return this.#add(function* (frame) {
      for (const piece of pieces) {
        if (ms > 0) yield { kind: "wait", ms };
        yield { kind: "write", text: frame(choice({ [field]: piece })), token: true };
      }
    });
  }
}

export function script(): Script {
  return new Script();
}

function sse(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

function choice(delta: Record<string, unknown>, finish_reason: string | null = null): unknown[] {
  return [{ index: 0, delta, finish_reason }];
}

/** `count` pieces of nearly the same length, fewer where the text is shorter. */
function cut(text: string, count: number): string[] {
  const size = Math.max(1, Math.ceil(text.length / count));
  const pieces: string[] = [];
  for (let at = 0; at < text.length; at += size) pieces.push(text.slice(at, at + size));
  return pieces;
}
