import type { Message, Run, Session } from "../protocol/entities.ts";

/** On whose behalf. */
export interface AsUser {
  /** Default: the owner of the session, `owner` where it goes by a name of its owner's. */
  readonly userId?: string;
}

export interface NewSession extends AsUser {
  /** The user's own name for it; without one it has only the gateway's, `ses_…`. */
  readonly sessionId?: string;
  readonly title?: string;
  /** `provider/model`; default: that of the configuration. */
  readonly model?: string;
  readonly systemPrompt?: string;
  /** Kept as it is, at most `limits.metadata_bytes` of JSON. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface NewMessage extends AsUser {
  readonly role: "user" | "assistant" | "system";
  /** At most `limits.message_bytes` of UTF-8. */
  readonly content: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** A repeated call with the same key answers as the first did, for 24 hours. */
  readonly idempotencyKey?: string;
}

export interface History extends AsUser {
  /** Most messages; 1 to 1,000. Default 50. */
  readonly limit?: number;
  /** Those before, or after, this message. Without either the newest. */
  readonly before?: string;
  readonly after?: string;
}

export interface NewRun extends AsUser {
  /** Default: the session's. */
  readonly model?: string;
  readonly idempotencyKey?: string;
}

export interface StartedRun {
  readonly runId: string;
  /** "queued": it waits for other runs of the session. */
  readonly status: "started" | "queued";
  /**
   * The run once it has ended and that is on disk, however it ended: `status` is "completed", "failed" (with `error`),
   * "aborted" or "interrupted". Rejects only where storage broke and that is not known, with UNAVAILABLE.
   */
  readonly done: Promise<Run>;
}

export interface ChatStats {
  /** Sessions in the store. */
  readonly totalSessions: number;
  readonly activeRuns: number;
  readonly queuedRuns: number;
  /** Sessions that have a run now. */
  readonly sessions: readonly {
    readonly sessionId: string;
    readonly userId: string;
    readonly activeRuns: number;
    readonly queuedRuns: number;
  }[];
}

/** Conversations, without a transport. What they answer has the names of the wire where it is a thing of the wire. */
export interface Chat {
  /**
   * @throws GatewayError CONFLICT {kind:"exists"} where the user has a session of that name
   * @example const { sessionId } = await gateway.chat.createSession({ title: "Support" });
   */
  createSession(session?: NewSession): Promise<{
    /** The gateway's id, `ses_…`. */
    readonly sessionId: string;
    /** As its user sees it: under its own name, where it has one. */
    readonly session: Session;
  }>;
  /**
   * Adds a message to the history, and starts nothing. On disk when it resolves.
   * @throws GatewayError NOT_FOUND, GONE, TOO_LARGE, CONFLICT {kind:"full"}
   */
  addMessage(
    sessionId: string,
    message: NewMessage,
  ): Promise<{ readonly messageId: string; readonly epoch: string; readonly seq: number }>;
  /** Oldest first. @throws GatewayError NOT_FOUND, GONE */
  getMessages(sessionId: string, which?: History): Promise<readonly Message[]>;
  /**
   * Has the model answer the history as it stands when the run's turn comes: one run of a session at a time.
   * @throws GatewayError NOT_FOUND, CONFLICT where nothing was said yet or too many runs wait
   * @example
   * const { runId, done } = await gateway.chat.createRun(sessionId);
   * console.log(runId, (await done).status);
   */
  createRun(sessionId: string, run?: NewRun): Promise<StartedRun>;
  /**
   * Ends a run; resolves when its end is on disk. `aborted` false: it had ended before.
   * @throws GatewayError NOT_FOUND
   */
  abortRun(runId: string): Promise<{ readonly aborted: boolean }>;
  stats(): Promise<ChatStats>;
}
