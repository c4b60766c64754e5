import type { Client } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import type { Change, FoldedMessage, FoldedRun } from "../client/change.ts";
import type { Transcript } from "../client/fold.ts";
import { createTranscript } from "../client/fold.ts";
import { backoffMs } from "../client/reconnect.ts";
import type { Opening } from "../client/methods.ts";
import type { Attachment } from "../protocol/api/attachment.ts";
import type { Approval } from "../protocol/entities.ts";
import type { Show, ToolUse } from "./answer-show.ts";
import { Showing, answersOf, toolUsesOf } from "./answer-show.ts";
import type { Asked } from "./open-approvals.ts";
import { OpenApprovals } from "./open-approvals.ts";
import { pause } from "./pause.ts";

export interface Answer {
  readonly run: FoldedRun;
  /** Assistant messages of the run, in order. */
  readonly messages: readonly FoldedMessage[];
  readonly tools: readonly ToolUse[];
  /** Whether what came in pieces has the sha256 the gateway names: null where no message came whole in pieces. */
  readonly verified: boolean | null;
}

/** What is sent. */
export interface Said {
  readonly message: string;
  /** Files that go with it. */
  readonly attachments: readonly Attachment[];
}

/** One session, followed through drops and restarts. */
export interface Conversation {
  readonly session_id: string;
  readonly transcript: Transcript;
  /** Sends a message and shows its answer; resolves when the run has ended. @throws ClientError */
  ask(said: Said, show: Show, signal: AbortSignal): Promise<Answer>;
  /** Tells the run that goes on something. False: there was none, so that it became a message of its own. @throws ClientError */
  steer(said: Said): Promise<boolean>;
  /** Stops every run of the session. */
  abort(): Promise<void>;
  /** Follows it no more. */
  close(): void;
  /** Whether a run answers a message that was sent here. */
  owns(run_id: string): boolean;
  /** Tells of every call of the session that waits for an answer, from those that do now. One listener. */
  onApproval(asked: Asked): void;
  /** Answers one, once, however often the connection is lost; that somebody else was first is told by the log. @throws ClientError */
  decide(approval: Approval, decision: "allow" | "deny", remember: boolean): Promise<void>;
}

const TERMINAL: ReadonlySet<string> = new Set(["completed", "failed", "aborted", "interrupted"]);
/** The gateway did nothing: the same message may be sent again, with the same key. */
const SEND_AGAIN: ReadonlySet<string> = new Set(["UNAVAILABLE", "RATE_LIMITED", "CLOSED"]);
const SEND_AGAIN_MS = 500;

/** Follows the session of that name, and makes it where there is none; without a name a new one. */
export async function openConversation(
  client: Client,
  session_id: string | undefined,
): Promise<Conversation> {
  const id = session_id === undefined ? await create(client, {}) : await findOrCreate(client, session_id);
  const conversation = new FollowedConversation(client, id);
  await conversation.opened;
  return conversation;
}

async function findOrCreate(client: Client, session_id: string): Promise<string> {
  try {
    return (await client.request("session.get", { session_id })).session_id;
  } catch (error) {
    const absent = error instanceof ClientError && (error.code === "NOT_FOUND" || error.code === "GONE");
    if (!absent) throw error;
  }
  return create(client, { session_id });
}

async function create(client: Client, params: { session_id?: string }): Promise<string> {
  const session = await client.request("session.create", { ...params, idempotency_key: crypto.randomUUID() });
  return session.session_id;
}

class FollowedConversation implements Conversation {
  readonly session_id: string;
  readonly transcript = createTranscript();
  /** Resolves once everything up to now is known. */
  readonly opened: Promise<void>;
  readonly #client: Client;
  /** sha256 of finished messages that were folded from their deltas alone. */
  readonly #verified = new Map<string, boolean>();
  /** The transcript was replaced and is not up to now yet. */
  #catching_up = false;
  /** Told after every change of the transcript; null: it was replaced. */
  #changed: (change: Change | null) => void = () => undefined;
  #failed: (error: ClientError) => void = () => undefined;
  #error: ClientError | null = null;
  readonly #approvals = new OpenApprovals(this.transcript);
  readonly #own = new Set<string>();
  /** A message is on its way: which run answers it is not known yet. */
  #sending = false;
  #unsubscribe: () => void = () => undefined;

  constructor(client: Client, session_id: string) {
    this.#client = client;
    this.session_id = session_id;
    this.opened = new Promise((resolve, reject) => {
      const subscription = client.subscribe(
        session_id,
        {},
        {
          opened: (opening) => this.#open(opening),
          synced: () => {
            this.#synced();
            resolve();
          },
          event: (frame) => {
            const change = this.transcript.apply(frame);
            if (change.kind === "gap") return subscription.refresh();
            if (change.kind === "completed" && change.streamed !== null) {
              this.#verified.set(change.message.message_id, sha256(change.streamed) === change.sha256);
            }
            return this.#tell(change);
          },
          ended: (error) => {
            this.#error = error;
            reject(error);
            this.#failed(error);
          },
        },
      );
      this.#unsubscribe = () => subscription.unsubscribe();
    });
  }

  async ask(said: Said, show: Show, signal: AbortSignal): Promise<Answer> {
    const showing = new Showing(this.transcript, show);
    this.#sending = true;
    const run_id = await this.#send(said, show, signal).finally(() => (this.#sending = false));
    this.#own.add(run_id);
    const run = await new Promise<FoldedRun>((resolve, reject) => {
      this.#failed = reject;
      if (this.#error !== null) return reject(this.#error);
      this.#changed = (change) => {
        showing.advance(run_id, change);
        const known = this.transcript.runs.get(run_id);
        if (known !== undefined && TERMINAL.has(known.status)) return resolve(known);
        // A snapshot names runs that go on and those of its messages; one that is in neither has ended long ago.
        if (known === undefined && change === null) this.#lookUp(run_id, signal).then(resolve, reject);
        return undefined;
      };
      signal.addEventListener("abort", () => reject(new ClientError("ABORTED", "stopped by Ctrl-C")), {
        once: true,
      });
      return this.#tell({ kind: "none" });
    }).finally(() => {
      this.#changed = () => undefined;
      this.#failed = () => undefined;
    });
    const messages = answersOf(this.transcript, run_id);
    const proofs = messages
      .map(({ message_id }) => this.#verified.get(message_id))
      .filter((proof) => proof !== undefined);
    const tools = toolUsesOf(this.transcript, run_id);
    return { run, messages, tools, verified: proofs.length === 0 ? null : proofs.every(Boolean) };
  }

  async steer(said: Said): Promise<boolean> {
    const request = { ...this.#messageOf(said), on_busy: "steer" as const };
    const { status } = await this.#untilTaken(() => this.#client.request("chat.send", request));
    return status === "steered";
  }

  close(): void {
    this.#unsubscribe();
  }

  async abort(): Promise<void> {
    try {
      await this.#client.request("chat.abort", { session_id: this.session_id });
    } catch (error) {
      // The end of the run was read before the answer that tells of it, and we left.
      if (!(error instanceof ClientError && error.code === "ABORTED")) throw error;
    }
  }

  owns(run_id: string): boolean {
    return this.#own.has(run_id);
  }

  onApproval(asked: Asked): void {
    this.#approvals.listen(asked);
  }

  async decide({ approval_id }: Approval, decision: "allow" | "deny", remember: boolean): Promise<void> {
    const params = {
      session_id: this.session_id,
      approval_id,
      decision,
      ...(remember && { remember: "session" as const }),
      idempotency_key: crypto.randomUUID(),
    };
    try {
      await this.#untilTaken(() => this.#client.request("tool.approve", params, { timeout_ms: 0 }));
    } catch (error) {
      const over = error instanceof ClientError && (error.code === "CONFLICT" || error.code === "ABORTED");
      if (!over) throw error;
    }
  }

  #messageOf({ message, attachments }: Said) {
    return {
      session_id: this.session_id,
      message,
      ...(attachments.length > 0 && { attachments: attachments.map(({ attachment_id }) => attachment_id) }),
      idempotency_key: crypto.randomUUID(),
      subscribe: false,
    };
  }

  async #send(said: Said, show: Show, signal: AbortSignal): Promise<string> {
    const params = this.#messageOf(said);
    const { run_id } = await this.#untilTaken(
      () => this.#client.request("chat.send", params, { signal, timeout_ms: 0 }),
      (error) => show.note(`not taken yet (${error.message}): sending it again`),
      signal,
    );
    return run_id;
  }

  /** A request with a key is safe to send until the gateway has taken it, however often the connection is lost. */
  async #untilTaken<T>(
    request: () => Promise<T>,
    told: (error: ClientError) => void = () => undefined,
    signal?: AbortSignal,
  ): Promise<T> {
    for (;;) {
      try {
        return await request();
      } catch (error) {
        const again = error instanceof ClientError && error.retryable && SEND_AGAIN.has(error.code);
        if (!again || this.#client.state === "closed") throw error;
        told(error);
        await pause(error.retry_after_ms ?? SEND_AGAIN_MS, signal);
      }
    }
  }

  /** A run that has ended. To ask again changes nothing, so what may be answered later is asked later. */
  async #lookUp(run_id: string, signal: AbortSignal): Promise<FoldedRun> {
    for (let failures = 0; ;) {
      try {
        const { status, error, finish_reason } = await this.#client.request(
          "run.wait",
          { run_id },
          { signal },
        );
        if (!TERMINAL.has(status)) continue;
        return {
          run_id,
          status,
          ...(error && { error }),
          ...(finish_reason !== undefined && { finish_reason }),
        };
      } catch (error) {
        if (!(error instanceof ClientError) || !error.retryable || this.#client.state === "closed")
          throw error;
        await pause(error.retry_after_ms ?? backoffMs(++failures, SEND_AGAIN_MS, Math.random), signal);
      }
    }
  }

  #open(opening: Opening): void {
    if (opening.snapshot === undefined) return;
    this.transcript.replace(opening.snapshot);
    // A snapshot may be older than what was shown; the events after it make up for that.
    this.#catching_up = true;
  }

  #synced(): void {
    if (!this.#catching_up) return;
    this.#catching_up = false;
    this.#tell(null);
  }

  #tell(change: Change | null): void {
    if (this.#catching_up) return;
    this.#changed(change);
    if (!this.#sending) this.#approvals.advance(change);
  }
}

function sha256(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}
