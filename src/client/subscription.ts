import type { EventFrame } from "../protocol/frames.ts";
import type { ClientError } from "./error.ts";
import { GatewayError } from "./error.ts";
import type { Opening } from "./methods.ts";
import type { Answered } from "./outbox.ts";
import { backoffMs } from "./reconnect.ts";

/** A position in a session's log: everything up to `seq` is known. */
export interface Cursor {
  readonly epoch: string;
  readonly seq: number;
}

export interface SubscribeOptions {
  /** Where to continue. Without it the subscription starts from a snapshot; `after: 0` needs no epoch. */
  readonly epoch?: string;
  readonly after?: number;
  /** "log": events one by one however far behind, as long as the gateway still has them. */
  readonly catch_up?: "auto" | "log";
}

export interface SubscriptionHandlers {
  /** Before the first event, and again after every reconnect. Unless its mode is "resume", its snapshot replaces all. */
  opened?(opening: Opening): void;
  /** Durable events, in order, each exactly once since the last `opened`. */
  event?(frame: EventFrame): void;
  /** Caught up: what follows is live. */
  synced?(): void;
  /** Called at most once, and last: why the subscription is over for good. */
  ended?(error: ClientError): void;
}

export interface Subscription {
  readonly session_id: string;
  /** Null until it was opened. */
  readonly cursor: Cursor | null;
  /** Reads again from an earlier place. */
  rewind(cursor: Cursor, catch_up: "auto" | "log"): void;
  /** Starts over from a snapshot, when what the reader holds cannot be right. */
  refresh(): void;
  /** Nothing is called after it. */
  unsubscribe(): void;
}

export interface FollowDeps {
  readonly request: (method: string, params: Record<string, unknown>, answered: Answered) => () => void;
  readonly random: () => number;
  /** Called once when it is over. */
  readonly removed: (follow: Follow) => void;
}

const AGAIN_MS = 125;
/** Names of the last event of a run. */
export const RUN_END = /^run\.(completed|failed|aborted|interrupted)$/;
const FOR_GOOD: ReadonlySet<string> = new Set(["revoked", "deleted"]);

/** A subscription's cursor through drops, gaps and resets. Fed every frame of its session. */
export class Follow implements Subscription {
  readonly session_id: string;
  /** How frames call the session: the owner's name of it where that is not what was asked for. */
  name: string;
  cursor: Cursor | null = null;
  readonly #deps: FollowDeps;
  readonly #handlers: SubscriptionHandlers;
  /** Runs that have not ended, as far as was heard. */
  readonly #active = new Set<string>();
  #catch_up: "auto" | "log" | undefined;
  /** A start without an epoch, until the first answer. */
  #start: number | undefined;
  #state: "off" | "opening" | "live" | "ended" = "off";
  #take_back: () => void = () => undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Openings in a row that brought nothing new. */
  #fruitless = 0;
  /** The cursor at the last heartbeat that named a higher head. */
  #behind_at: number | null = null;

  constructor(
    deps: FollowDeps,
    session_id: string,
    options: SubscribeOptions,
    handlers: SubscriptionHandlers,
  ) {
    this.#deps = deps;
    this.session_id = session_id;
    this.name = session_id;
    this.#handlers = handlers;
    const { epoch, after, catch_up } = options;
    this.#catch_up = catch_up;
    if (epoch === undefined) this.#start = after;
    else if (after !== undefined) this.cursor = { epoch, seq: after };
  }

  /** Asks the gateway, from the cursor. What still arrives of an earlier opening is ignored. */
  open(): void {
    if (this.#state === "ended") return;
    this.#halt();
    this.#state = "opening";
    // A gateway id may have a name of its owner's, which the frames use and the answer of a resume does not tell.
    if (this.cursor !== null && this.session_id.startsWith("ses_")) this.#learnName();
    else this.#subscribe();
  }

  /** Whether there is more to come. */
  get active(): boolean {
    return this.#active.size > 0;
  }

  #note(run_id: string, ended: boolean): void {
    if (ended) this.#active.delete(run_id);
    else this.#active.add(run_id);
  }

  /** The connection is gone. */
  suspend(): void {
    if (this.#state === "ended") return;
    this.#halt();
    this.#state = "off";
  }

  receive(frame: EventFrame): void {
    if (this.#state !== "live") return;
    if (frame.event === "session.unsubscribed") return this.#unsubscribed(String(frame.payload["reason"]));
    if (frame.event === "session.synced") return this.#handlers.synced?.();
    const { seq, epoch } = frame;
    if (seq === undefined || epoch === undefined || this.cursor === null) return;
    if (epoch !== this.cursor.epoch || seq > this.cursor.seq + 1) return this.#again();
    if (seq <= this.cursor.seq) return;
    this.cursor = { epoch, seq };
    this.#fruitless = 0;
    if (frame.run_id !== undefined) this.#note(frame.run_id, RUN_END.test(frame.event));
    this.#handlers.event?.(frame);
  }

  /** What a heartbeat says of the session's head: a cursor that stood still below it twice has missed something. */
  heartbeat(epoch: string, head: number): void {
    if (this.#state !== "live" || this.cursor === null) return;
    if (epoch === this.cursor.epoch && head <= this.cursor.seq) {
      this.#behind_at = null;
    } else if (this.#behind_at === this.cursor.seq) {
      this.#again();
    } else {
      this.#behind_at = this.cursor.seq;
    }
  }

  rewind(cursor: Cursor, catch_up: "auto" | "log"): void {
    if (this.#state === "ended") return;
    this.cursor = cursor;
    this.#catch_up = catch_up;
    this.#fruitless = 0;
    if (this.#state !== "off") this.#again();
  }

  refresh(): void {
    if (this.#state === "ended") return;
    this.cursor = null;
    this.#start = undefined;
    if (this.#state !== "off") this.#again();
  }

  unsubscribe(): void {
    if (this.#state === "ended") return;
    const was_off = this.#state === "off";
    this.#finish();
    // Whether it was still there makes no difference to who asked.
    const ignored: Answered = { ok: () => undefined, failed: () => undefined };
    if (!was_off) this.#deps.request("session.unsubscribe", { session_id: this.session_id }, ignored);
  }

  /** Over for good. */
  end(error: ClientError): void {
    if (this.#state === "ended") return;
    this.#finish();
    this.#handlers.ended?.(error);
  }

  #learnName(): void {
    this.#take_back = this.#deps.request(
      "session.get",
      { session_id: this.session_id },
      {
        ok: (payload) => {
          this.name = (payload as { session_id: string }).session_id;
          this.#subscribe();
        },
        failed: (error) => this.#failed(error),
      },
    );
  }

  #subscribe(): void {
    // What is undefined is not sent.
    const params = {
      session_id: this.session_id,
      epoch: this.cursor?.epoch,
      after: this.cursor?.seq ?? this.#start,
      catch_up: this.#catch_up,
    };
    this.#take_back = this.#deps.request("session.subscribe", params, {
      ok: (payload) => this.#opened(payload as Opening),
      failed: (error) => this.#failed(error),
    });
  }

  #opened(opening: Opening): void {
    this.#state = "live";
    this.#behind_at = null;
    this.#start = undefined;
    this.cursor = { epoch: opening.epoch, seq: opening.from };
    if (opening.snapshot !== undefined) {
      this.name = opening.snapshot.session.session_id;
      this.#active.clear();
      for (const { run_id, status } of opening.snapshot.runs) {
        this.#note(run_id, status !== "queued" && status !== "running");
      }
    }
    this.#handlers.opened?.(opening);
  }

  #failed(error: ClientError): void {
    // The connection ended with it; it is opened again with the next one.
    if (error.code === "CLOSED") return;
    if (!error.retryable) return this.end(error);
    this.#again(error.retry_after_ms);
  }

  #unsubscribed(reason: string): void {
    if (!FOR_GOOD.has(reason)) return this.#again();
    const code = reason === "deleted" ? "GONE" : "FORBIDDEN";
    this.end(new GatewayError(code, `the subscription of ${this.session_id} ended: ${reason}`));
  }

  /** At once the first time, later and later while nothing new comes of it. */
  #again(wait_ms?: number): void {
    this.#halt();
    this.#state = "opening";
    const wait = wait_ms ?? (this.#fruitless && backoffMs(this.#fruitless, AGAIN_MS, this.#deps.random));
    this.#fruitless++;
    if (wait === 0) return this.open();
    this.#timer = setTimeout(() => this.open(), wait);
  }

  #halt(): void {
    this.#take_back();
    this.#take_back = () => undefined;
    clearTimeout(this.#timer);
  }

  #finish(): void {
    this.#halt();
    this.#state = "ended";
    this.#deps.removed(this);
  }
}
