import type { EventMessage, EventRun } from "../protocol/entities.ts";
import type { Logger } from "./ports.ts";

/** What a hook works with. */
export interface HookContext {
  /** Aborted when nobody waits for its answer any more: its time is over, the run was stopped. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

type Awaitable<T> = T | Promise<T>;
// oxlint-disable-next-line typescript/no-invalid-void-type -- a hook that has nothing to say returns nothing
type Answer<T> = Awaitable<T | undefined | void>;

/** A run that is about to ask the model, or has ended. Ids of sessions are the gateway's (`ses_…`). */
interface RunAsked {
  readonly session_id: string;
  readonly run_id: string;
  /** Whose session it is. */
  readonly user: string;
  readonly model: string;
}
export interface ToolAsked {
  readonly session_id: string;
  readonly run_id: string;
  readonly tool_call_id: string;
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}
export interface MessageAsked {
  /** Null: the message begins a session. */
  readonly session_id: string | null;
  /** Who sends it. */
  readonly user: string;
  readonly role: "user" | "assistant" | "system";
  readonly message: string;
  readonly metadata: Record<string, unknown>;
}

/**
 * What may be called at the points of a message's way. Those of one owner are its own copies: what it changes in them
 * changes nothing. One that throws, answers something else or does not settle within `limits.hook_ms` is reported and
 * its owner's hooks are not called again; the rest goes on as if it were not there, so a hook that is to keep
 * something out has to refuse, not to throw.
 */
export interface HookSet {
  /** Before a run asks the model for the first time. `refuse`: the run fails, with FORBIDDEN that says who and why. */
  before_run?(run: RunAsked, context: HookContext): Answer<{ readonly refuse: string }>;
  /** After the end of a run is committed, in the order of the session's log; nothing waits for it. */
  after_run?(
    ended: { readonly session_id: string; readonly run: EventRun },
    context: HookContext,
  ): Answer<unknown>;
  /**
   * Before a call of a tool that is there and may be called, and before anybody is asked to allow it. `refuse`: what
   * the model is told in place of a result. `arguments`: what the tool is called with; they are checked against the
   * tool's schema again, and shown to whoever is asked. The log keeps the call as the model made it.
   */
  before_tool_call?(
    call: ToolAsked,
    context: HookContext,
  ): Answer<{ readonly refuse: string } | { readonly arguments: Record<string, unknown> }>;
  /** After a call that was made, before its result enters the log. `content`: what the model is told instead. */
  after_tool_call?(
    call: ToolAsked & { readonly ok: boolean; readonly content: string },
    context: HookContext,
  ): Answer<{ readonly content: string }>;
  /**
   * Before a message a user sends (chat.send, steering a run too, and chat.inject) enters the log. `refuse`: the
   * request fails with FORBIDDEN. `message`: what is written instead. Later messages of the same connection to the
   * session wait behind it. Not called for a request that is repeated with its idempotency key and was answered.
   */
  before_message?(
    sent: MessageAsked,
    context: HookContext,
  ): Answer<{ readonly refuse: string } | { readonly message: string }>;
  /** After a message of any role is complete (or ended partial) and committed, in the order of the session's log. */
  after_message?(
    written: { readonly session_id: string; readonly message: EventMessage },
    context: HookContext,
  ): Answer<unknown>;
}
export type HookName = keyof HookSet;
