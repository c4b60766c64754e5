import type { EventMessage, EventRun } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import { HookOwner } from "./hook-owner.ts";
import type { HookOwnerOptions } from "./hook-owner.ts";
import type { HookName, HookSet, MessageAsked, ToolAsked } from "./hook-set.ts";
import type { Limits } from "./limits.ts";
import type { RowChange } from "./operation.ts";
import type { Clock } from "./ports.ts";
import type { SessionRef } from "./session.ts";
import { cutUtf8, lengthUtf8, wellFormed } from "./text.ts";

const NAMES: readonly HookName[] = [
  "before_run",
  "after_run",
  "before_tool_call",
  "after_tool_call",
  "before_message",
  "after_message",
];
/** Of a reason people read. */
const REASON_BYTES = 1_024;
const TERMINAL: ReadonlySet<string> = new Set(["completed", "failed", "aborted", "interrupted"]);

interface ChangedCall {
  readonly by: string;
  readonly arguments: Record<string, unknown>;
}

interface Member {
  readonly owner: HookOwner;
  readonly hooks: HookSet;
}

/**
 * Who is called at the points of a message's way, by name. Where nobody is, `has` says so without a
 * call, and nothing else has to be done.
 */
export class Hooks {
  /** Whether anybody has a hook of that name. */
  readonly has: Record<HookName, boolean> = {
    before_run: false,
    after_run: false,
    before_tool_call: false,
    after_tool_call: false,
    before_message: false,
    after_message: false,
  };
  readonly #clock: Clock;
  readonly #limits: Limits;
  /** Replaced as a whole: whoever is going through it goes on with what it was. */
  #members: readonly Member[] = [];

  constructor(deps: { readonly clock: Clock; readonly limits: Limits }) {
    this.#clock = deps.clock;
    this.#limits = deps.limits;
  }

  /**
   * Calls these from now on, in the order of the owners' names. What is answered takes them out again: calls that were
   * begun are still waited for, and it resolves when there are none left, at most `limits.hook_ms` later each.
   */
  add(options: HookOwnerOptions, hooks: HookSet): () => Promise<void> {
    const out = (): void => this.#set(this.#members.filter((each) => each !== member));
    const owner = new HookOwner(options, this.#clock, this.#limits, out);
    const member: Member = { owner, hooks };
    const all = [...this.#members, member];
    this.#set(all.sort((a, b) => (a.owner.name < b.owner.name ? -1 : Number(a.owner.name > b.owner.name))));
    return async () => {
      out();
      await owner.idle();
    };
  }

  /** Resolves when nothing that was begun is open. */
  async idle(): Promise<void> {
    await Promise.all(this.#members.map(({ owner }) => owner.idle()));
  }

  /** Why somebody does not want the run; null: it may go on. */
  async beforeRun(
    session: SessionRef,
    { run_id, model }: EventRun,
    signal: AbortSignal,
  ): Promise<GatewayError | null> {
    for (const { owner, hooks } of this.#members) {
      if (hooks.before_run === undefined) continue;
      const run = { session_id: session.id, run_id, user: session.owner, model };
      const asking = owner.ask("before_run", (context) => hooks.before_run?.(run, context), {
        signal,
        read: (said) => ({ refuse: textOf(said, "refuse") }),
      });
      const answer = asking instanceof Promise ? await asking : asking;
      if (signal.aborted) return null;
      if (answer !== undefined) return refused(owner, "run", answer.refuse);
    }
    return null;
  }

  /** What the model is told in place of a result, or what it is to be called with; null: as it is. */
  async beforeToolCall(
    call: ToolAsked,
    signal: AbortSignal,
  ): Promise<{ readonly refuse: string } | ChangedCall | null> {
    let changed: ChangedCall | null = null;
    let text = JSON.stringify(call.arguments);
    for (const { owner, hooks } of this.#members) {
      if (hooks.before_tool_call === undefined) continue;
      const copy = copyOf<ToolAsked["arguments"]>(text);
      const asked = {
        ...call,
        get arguments() {
          return copy();
        },
      };
      const asking = owner.ask("before_tool_call", (context) => hooks.before_tool_call?.(asked, context), {
        signal,
        read: (said) =>
          "arguments" in said
            ? { arguments: objectOf(said, "arguments", this.#limits.assistant_bytes) }
            : { refuse: textOf(said, "refuse") },
      });
      const answer = asking instanceof Promise ? await asking : asking;
      if (signal.aborted) return null;
      if (answer === undefined) continue;
      if ("refuse" in answer) return { refuse: cutUtf8(answer.refuse, this.#limits.tool_result_bytes) };
      changed = { by: owner.name, arguments: answer.arguments };
      text = JSON.stringify(answer.arguments);
    }
    return changed;
  }

  /** What the model is told of the call. */
  async afterToolCall(
    call: ToolAsked & { readonly ok: boolean; readonly content: string },
    signal: AbortSignal,
  ): Promise<{ readonly content: string; readonly truncated?: true }> {
    let { content } = call;
    const text = JSON.stringify(call.arguments);
    for (const { owner, hooks } of this.#members) {
      if (hooks.after_tool_call === undefined) continue;
      const copy = copyOf<ToolAsked["arguments"]>(text);
      const asked = {
        ...call,
        content,
        get arguments() {
          return copy();
        },
      };
      const asking = owner.ask("after_tool_call", (context) => hooks.after_tool_call?.(asked, context), {
        signal,
        read: (said) => ({ content: textOf(said, "content") }),
      });
      const answer = asking instanceof Promise ? await asking : asking;
      if (signal.aborted) break;
      content = answer?.content ?? content;
    }
    const cut = cutUtf8(content, this.#limits.tool_result_bytes);
    return { content: cut, ...(cut !== content && { truncated: true }) };
  }

  /** The text that is to be written. @throws GatewayError FORBIDDEN where somebody does not want it */
  async beforeMessage(sent: MessageAsked): Promise<string> {
    let { message } = sent;
    const metadata = JSON.stringify(sent.metadata);
    for (const { owner, hooks } of this.#members) {
      if (hooks.before_message === undefined) continue;
      const copy = copyOf<MessageAsked["metadata"]>(metadata);
      const asked = {
        ...sent,
        message,
        get metadata() {
          return copy();
        },
      };
      const asking = owner.ask("before_message", (context) => hooks.before_message?.(asked, context), {
        signal: null,
        read: (said) =>
          "message" in said
            ? { message: textOf(said, "message", this.#limits.message_bytes) }
            : { refuse: textOf(said, "refuse") },
      });
      const answer = asking instanceof Promise ? await asking : asking;
      if (answer === undefined) continue;
      if ("refuse" in answer) throw refused(owner, "message", answer.refuse);
      ({ message } = answer);
    }
    return message;
  }

  /** Called in the block that publishes what these rows went with: notes what is told of them afterwards. Never throws. */
  committed({ id: session_id }: SessionRef, rows: readonly RowChange[]): void {
    if (!this.has.after_run && !this.has.after_message) return;
    for (const row of rows) {
      if (row.kind === "run.put") {
        if (this.has.after_run && TERMINAL.has(row.status)) this.#laterRun(session_id, row.data);
      } else if (row.kind === "message.put" || row.kind === "message.done") {
        if (this.has.after_message && row.status !== "streaming") this.#laterMessage(session_id, row.data);
      }
    }
  }

  #laterRun(session_id: string, data: string): void {
    for (const { owner, hooks } of this.#members) {
      if (hooks.after_run === undefined) continue;
      const copy = copyOf<EventRun>(data);
      const ended = {
        session_id,
        get run() {
          return copy();
        },
      };
      owner.later(session_id, "after_run", (context) => hooks.after_run?.(ended, context));
    }
  }

  #laterMessage(session_id: string, data: string): void {
    for (const { owner, hooks } of this.#members) {
      if (hooks.after_message === undefined) continue;
      const copy = copyOf<EventMessage>(data);
      const written = {
        session_id,
        get message() {
          return copy();
        },
      };
      owner.later(session_id, "after_message", (context) => hooks.after_message?.(written, context));
    }
  }

  #set(members: readonly Member[]): void {
    this.#members = members;
    for (const name of NAMES) this.has[name] = members.some(({ hooks }) => hooks[name] !== undefined);
  }
}

function refused({ name: by }: HookOwner, what: string, why: string): GatewayError {
  const reason = cutUtf8(why, REASON_BYTES);
  return new GatewayError("FORBIDDEN", `${by} refused this ${what}: ${reason}`, {
    details: { kind: "refused", by, reason },
  });
}

/** What is in `json`: a copy for one owner, made when it is looked at, which most do not. */
function copyOf<T>(json: string): () => T {
  let value: T | undefined;
  return () => (value ??= JSON.parse(json) as T);
}

/** @throws Error where there is no such text */
function textOf(said: object, key: string, max_bytes = Number.POSITIVE_INFINITY): string {
  const text = (said as Record<string, unknown>)[key];
  if (typeof text !== "string") throw new Error(`answered no text as "${key}"`);
  const sound = wellFormed(text);
  if (lengthUtf8(sound) > max_bytes) throw new Error(`answered more than ${max_bytes} bytes as "${key}"`);
  return sound;
}

/** A JSON object, as JSON has it. @throws Error where it is none */
function objectOf(said: object, key: string, max_bytes: number): Record<string, unknown> {
  const json = JSON.stringify((said as Record<string, unknown>)[key]) ?? "";
  if (!json.startsWith("{")) throw new Error(`answered no object as "${key}"`);
  if (lengthUtf8(json) > max_bytes) throw new Error(`answered more than ${max_bytes} bytes as "${key}"`);
  return JSON.parse(json) as Record<string, unknown>;
}
