import type { Client } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import type { Change, FoldedMessage, FoldedRun, Transcript } from "../client/fold.ts";
import { createTranscript } from "../client/fold.ts";
import type { Opening } from "../client/methods.ts";
import { pause } from "./pause.ts";

/** Where an answer is shown while it is written. */
export interface Show {
  /** More of the answer. */
  text(text: string): void;
  reasoning(text: string): void;
  /** Something beside the answer: a tool call, a connection lost. */
  note(line: string): void;
}

export interface Answer {
  readonly run: FoldedRun;
  /** Assistant messages of the run, in order. */
  readonly messages: readonly FoldedMessage[];
  /** Whether what came in pieces has the sha256 the gateway names: null where no message came whole in pieces. */
  readonly verified: boolean | null;
}

/** One session, followed through drops and restarts. */
export interface Conversation {
  readonly session_id: string;
  readonly transcript: Transcript;
  /** Sends a message and shows its answer; resolves when the run has ended. @throws ClientError */
  ask(message: string, show: Show, signal: AbortSignal): Promise<Answer>;
  /** Stops every run of the session. */
  abort(): Promise<void>;
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
    });
  }

  async ask(message: string, show: Show, signal: AbortSignal): Promise<Answer> {
    const showing = new Showing(this.transcript, show);
    const run_id = await this.#send(message, show, signal);
    const run = await new Promise<FoldedRun>((resolve, reject) => {
      this.#failed = reject;
      if (this.#error !== null) return reject(this.#error);
      this.#changed = (change) => {
        showing.advance(run_id, change);
        const known = this.transcript.runs.get(run_id);
        if (known !== undefined && TERMINAL.has(known.status)) return resolve(known);
        // A snapshot names runs that go on and those of its messages; one that is in neither has ended long ago.
        if (known === undefined && change === null) this.#lookUp(run_id).then(resolve, reject);
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
    return { run, messages, verified: proofs.length === 0 ? null : proofs.every(Boolean) };
  }

  async abort(): Promise<void> {
    try {
      await this.#client.request("chat.abort", { session_id: this.session_id });
    } catch (error) {
      // The end of the run was read before the answer that tells of it, and we left.
      if (!(error instanceof ClientError && error.code === "ABORTED")) throw error;
    }
  }

  /** The key makes it safe to send the message until the gateway has taken it, however often the connection is lost. */
  async #send(message: string, show: Show, signal: AbortSignal): Promise<string> {
    const params = {
      session_id: this.session_id,
      message,
      idempotency_key: crypto.randomUUID(),
      subscribe: false,
    };
    for (;;) {
      try {
        return (await this.#client.request("chat.send", params, { signal, timeout_ms: 0 })).run_id;
      } catch (error) {
        const again = error instanceof ClientError && error.retryable && SEND_AGAIN.has(error.code);
        if (!again || this.#client.state === "closed") throw error;
        show.note(`not taken yet (${error.message}): sending it again`);
        await pause(error.retry_after_ms ?? SEND_AGAIN_MS, signal);
      }
    }
  }

  /** A run that has ended. */
  async #lookUp(run_id: string): Promise<FoldedRun> {
    for (;;) {
      try {
        const { status, error, finish_reason } = await this.#client.request("run.wait", { run_id });
        if (!TERMINAL.has(status)) continue;
        return {
          run_id,
          status,
          ...(error && { error }),
          ...(finish_reason !== undefined && { finish_reason }),
        };
      } catch (error) {
        const lost =
          error instanceof ClientError && error.code === "CLOSED" && this.#client.state !== "closed";
        if (!lost) throw error;
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
    this.#changed(null);
  }

  #tell(change: Change): void {
    if (!this.#catching_up) this.#changed(change);
  }
}

/** Shows a run's text once, whatever way it came: in pieces, again after a reconnect, or all at once in a snapshot. */
class Showing {
  readonly #transcript: Transcript;
  readonly #show: Show;
  readonly #shown = new Map<string, string>();

  constructor(transcript: Transcript, show: Show) {
    this.#transcript = transcript;
    this.#show = show;
  }

  advance(run_id: string, change: Change | null): void {
    if (change?.kind === "tool_call") this.#show.note(`calls ${change.name} ${change.arguments}`);
    if (change?.kind === "text" && change.part === "reasoning") this.#show.reasoning(change.text);
    if (change?.kind === "discarded" && this.#shown.delete(change.message_id)) {
      this.#show.note("that answer broke off; it is written again");
    }
    for (const message of answersOf(this.#transcript, run_id)) this.#bring(message, change === null);
  }

  /** `replaced`: it comes from a snapshot, so it need not go on where it was. */
  #bring({ message_id, content }: FoldedMessage, replaced: boolean): void {
    const shown = this.#shown.get(message_id) ?? "";
    if (content.length === shown.length && !replaced) return;
    this.#shown.set(message_id, content);
    if (!replaced || content.startsWith(shown)) return this.#show.text(content.slice(shown.length));
    this.#show.note("the gateway's log was replaced; the answer as it is now:");
    this.#show.text(content);
    return undefined;
  }
}

function answersOf(transcript: Transcript, run_id: string): FoldedMessage[] {
  return [...transcript.messages.values()].filter(
    (each) => each.run_id === run_id && each.role === "assistant",
  );
}

function sha256(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}
