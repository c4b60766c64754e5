import type { TraceContext } from "../core/trace.ts";
import { newSpanId } from "../core/trace.ts";
import type { Attributes, Sink, Span } from "./span.ts";

/** What is under way. */
interface Open {
  readonly context: TraceContext;
  readonly parent: string;
  readonly start_ms: number;
}

interface OpenTool extends Open {
  readonly name: string;
  /** Whether it left the gateway. */
  made: boolean;
  arguments: string | undefined;
}

/** How a call of a model ended. */
export interface ChatEnd {
  readonly model: string;
  readonly attributes: Attributes;
  readonly error?: string | undefined;
}

/** The spans of one run: its turns, in each of them a call of the model (more than one where it is asked again) and of tools. */
export class RunTrace {
  readonly context: TraceContext;
  readonly session_id: string;
  readonly accepted_ms: number;
  readonly #parent: string | null;
  readonly #sink: Sink;
  /** The model that is asked. */
  model = "";
  /** What models and tools were told, where that may be shown. */
  readonly said: Record<string, string> = {};
  #turn: Open | null = null;
  #turns = 0;
  #chat: Open | null = null;
  #first_ms: number | null = null;
  readonly #tools = new Map<string, OpenTool>();

  constructor(
    parent: TraceContext | null,
    context: TraceContext,
    session_id: string,
    now: number,
    sink: Sink,
  ) {
    this.#parent = parent?.span_id ?? null;
    this.context = context;
    this.session_id = session_id;
    this.accepted_ms = now;
    this.#sink = sink;
  }

  /** A model is asked: what it is sent belongs to this. */
  chat(now: number): TraceContext {
    this.#endTurn(now);
    this.#turn = this.#open(this.context.span_id, now);
    this.#turns++;
    this.#chat = this.#open(this.#turn.context.span_id, now);
    return this.#chat.context;
  }

  /** It says something for the first time. */
  answers(now: number): void {
    this.#first_ms ??= now;
  }

  /** Milliseconds it took; null: nothing was asked. `again`: another one is asked in its place. */
  chatEnded(now: number, { model, attributes, error }: ChatEnd, again: boolean): number | null {
    const chat = this.#chat;
    if (chat === null) return null;
    const first = this.#first_ms === null ? undefined : (this.#first_ms - chat.start_ms) / 1_000;
    this.#end(chat, now, {
      name: `chat ${model}`,
      kind: "client",
      attributes: { "gen_ai.operation.name": "chat", ...attributes, "agentbus.first_token_seconds": first },
      error,
    });
    this.#first_ms = null;
    this.#chat = again ? this.#open(chat.parent, now) : null;
    return now - chat.start_ms;
  }

  /** The model wants a tool to be called. */
  toolNamed(tool_call_id: string, name: string, args: string | undefined, now: number): void {
    const known = this.#tools.get(tool_call_id);
    // It may have been made before anybody heard that it is wanted.
    if (known !== undefined) this.#tools.set(tool_call_id, { ...known, name, arguments: args });
    else
      this.#tools.set(tool_call_id, {
        ...this.#open(this.#within(), now),
        name,
        made: false,
        arguments: args,
      });
  }

  /** It is called: what it is sent belongs to this. */
  tool(tool_call_id: string, now: number): TraceContext {
    const { name = "", arguments: args } = this.#tools.get(tool_call_id) ?? {};
    const open = this.#open(this.#within(), now);
    this.#tools.set(tool_call_id, { ...open, name, made: true, arguments: args });
    return open.context;
  }

  toolEnded(tool_call_id: string, ok: boolean, result: string | undefined, now: number): void {
    const tool = this.#tools.get(tool_call_id);
    if (tool === undefined) return;
    this.#tools.delete(tool_call_id);
    this.#end(tool, now, {
      name: `execute_tool ${tool.name}`,
      kind: "internal",
      attributes: {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool.name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": tool_call_id,
        "gen_ai.tool.call.arguments": tool.arguments,
        "gen_ai.tool.call.result": result,
      },
      error: ok ? undefined : tool.made ? "tool_error" : "not_called",
    });
  }

  /** The run is over, and what is still open in it with it. */
  end(now: number, attributes: Attributes, chat: ChatEnd, error: string | undefined): void {
    this.chatEnded(now, chat, false);
    for (const id of this.#tools.keys()) this.toolEnded(id, false, undefined, now);
    this.#endTurn(now);
    this.#sink({
      context: this.context,
      parent: this.#parent,
      name: "invoke_agent agentbus",
      kind: "internal",
      start_ms: this.accepted_ms,
      end_ms: now,
      attributes: {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "agentbus",
        "gen_ai.conversation.id": this.session_id,
        "agentbus.turns": this.#turns,
        ...attributes,
        ...this.said,
      },
      error,
    });
  }

  #within(): string {
    return (this.#turn?.context ?? this.context).span_id;
  }

  #endTurn(now: number): void {
    if (this.#turn === null) return;
    const attributes = { "agentbus.turn": this.#turns };
    this.#end(this.#turn, now, { name: "turn", kind: "internal", attributes, error: undefined });
    this.#turn = null;
  }

  #open(parent: string, start_ms: number): Open {
    return { context: { ...this.context, span_id: newSpanId() }, parent, start_ms };
  }

  #end(
    { context, parent, start_ms }: Open,
    now: number,
    what: Pick<Span, "name" | "kind" | "attributes" | "error">,
  ): void {
    this.#sink({ context, parent, start_ms, end_ms: Math.max(start_ms, now), ...what });
  }
}
