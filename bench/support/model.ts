import { parseArgs } from "node:util";
import type { Action } from "../../test/support/model-script.ts";
import { Script, script } from "../../test/support/model-script.ts";
import { startModelServer } from "../../test/support/model-server.ts";
import { nowMicros } from "./clock.ts";
import type { Child } from "./process.ts";

export interface ModelProcess extends Child {
  /** The base_url to configure. */
  readonly url: string;
}

/** What a bench asks of the model, as the text of its message. */
export interface Order {
  /** So many turns before the answer that call the tool `time`, never twice with the same arguments. */
  readonly calls?: number;
  /** Tokens `index:microseconds `, stamped as they are written. */
  readonly tokens?: number;
  readonly pace_ms?: number;
  /** When the pace begins, microseconds since 1970; default: at once. */
  readonly from?: number;
  /** Or so much text, as fast as it is read, in so many pieces. */
  readonly chars?: number;
  readonly chunks?: number;
}

export function order(what: Order): string {
  return JSON.stringify(what);
}

/** Tokens of an order as text comes in, whichever way it is cut. */
export class Tokens {
  readonly #onToken: (index: number, stamp: number) => void;
  #rest = "";

  constructor(onToken: (index: number, stamp: number) => void) {
    this.#onToken = onToken;
  }

  push(text: string): void {
    const whole = this.#rest + text;
    let from = 0;
    for (let end = whole.indexOf(" "); end >= 0; end = whole.indexOf(" ", from)) {
      const colon = whole.indexOf(":", from);
      this.#onToken(Number(whole.slice(from, colon)), Number(whole.slice(colon + 1, end)));
      from = end + 1;
    }
    this.#rest = whole.slice(from);
  }
}

interface Said {
  readonly role: string;
  readonly content: unknown;
}

function answer(messages: readonly Said[]): Script {
  const last = messages.findLastIndex(({ role }) => role === "user");
  const {
    tokens = 1,
    pace_ms = 0,
    from = 0,
    chars = 0,
    chunks = 1,
    calls = 0,
  } = JSON.parse(String(messages[last]?.content)) as Order;
  const made = messages.slice(last).filter(({ role }) => role === "tool").length;
  if (made < calls) return script().tool("time", { time_zone: `Etc/GMT+${made}` });
  return chars > 0 ? script().text("x".repeat(chars), { chunks }) : new StampedTokens(tokens, pace_ms, from);
}

/** Tokens that say when they left: each is made as it is written. */
class StampedTokens extends Script {
  readonly #count: number;
  readonly #pace_ms: number;
  readonly #from: number;

  constructor(count: number, pace_ms: number, from: number) {
    super();
    this.#count = count;
    this.#pace_ms = pace_ms;
    this.#from = from;
  }

  override *actions(model: string): Generator<Action, void> {
    yield { kind: "write", text: chunk(model, { role: "assistant", content: "" }) };
    const early_ms = (this.#from - nowMicros()) / 1_000;
    if (early_ms > 0) yield { kind: "wait", ms: early_ms };
    for (let i = 0; i < this.#count; i++) {
      if (this.#pace_ms > 0) yield { kind: "wait", ms: this.#pace_ms };
      yield {
        kind: "write",
        text: chunk(model, { content: `${i}:${nowMicros().toFixed(0)} ` }),
        token: true,
      };
    }
    yield { kind: "write", text: `${chunk(model, {}, "stop")}data: [DONE]\n\n` };
    yield { kind: "end" };
  }
}

function chunk(model: string, delta: object, finish_reason: string | null = null): string {
  const choices = [{ index: 0, delta, finish_reason }];
  const object = "chat.completion.chunk";
  return `data: ${JSON.stringify({ id: "chatcmpl-0", object, created: 0, model, choices })}\n\n`;
}

/** `bun bench/support/model.ts` prints `{"url": …}` and answers what the last message of a user orders. */
if (import.meta.main) {
  const { values } = parseArgs({ options: { port: { type: "string", default: "0" } } });
  const model = await startModelServer({ port: Number(values.port), keep: false });
  model.otherwise((call) => answer(call.body.messages));
  console.log(JSON.stringify({ url: model.url() }));
}
