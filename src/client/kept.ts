import type { ErrorCode } from "../protocol/errors.ts";
import type { ClientError, GatewayError } from "./error.ts";
import type { SendOptions } from "./session.ts";
import type { FoldedState, SendChoices } from "./state.ts";

/** A message that the gateway has not taken yet. */
export interface KeptMessage {
  readonly session_id: string;
  readonly message: string;
  readonly idempotency_key: string;
  readonly created_at: number;
  /** How it was sent. */
  readonly options: SendChoices;
  /** It was refused: it is shown again, and not sent by itself. */
  readonly refused?: { readonly code: ErrorCode; readonly message: string };
}

/** Where messages are kept from one life of a page to the next. What it throws or rejects with is ignored: they are sent all the same. */
export interface OutboxStorage {
  load(): readonly KeptMessage[] | Promise<readonly KeptMessage[]>;
  /** In place of one with the same key. */
  put(message: KeptMessage): unknown;
  remove(idempotency_key: string): unknown;
}

/** A gateway knows a key for 24 hours: what is older is not sent by itself. */
const KNOWN_MS = 23 * 3_600_000;

/** What a session does with one of an earlier life. */
interface Taker {
  readonly state: Pick<FoldedState, "queued" | "failed">;
  send(message: string, options: SendOptions, created_at: number): Promise<unknown>;
}

interface KeptDeps {
  readonly open: (user: string) => OutboxStorage;
  readonly sessionOf: (session_id: string) => Taker;
  /** Handed in: this is loaded only where messages are kept, and brings nothing along that is there already. */
  readonly GatewayError: typeof GatewayError;
}

const TOO_OLD = {
  code: "TIMEOUT",
  message: "it waited for more than a day: send it again, or discard it",
} as const;

/** What is kept for whoever is in, once that is known. */
export class Kept {
  readonly #deps: KeptDeps;
  #storage: OutboxStorage | null = null;
  /** Messages of before it was known. */
  readonly #early = new Map<string, KeptMessage>();

  constructor(deps: KeptDeps) {
    this.#deps = deps;
  }

  /** Takes up what was left, once. */
  async of(user: string): Promise<void> {
    if (this.#storage !== null) return;
    this.#storage = this.#deps.open(user);
    const left = (await this.#try((storage) => storage.load())) ?? [];
    const early = new Map(this.#early);
    this.#early.clear();
    for (const message of early.values()) this.put(message);
    for (const message of left.toSorted((one, other) => one.created_at - other.created_at)) {
      if (!early.has(message.idempotency_key)) this.#again(message);
    }
  }

  put(message: KeptMessage): void {
    if (this.#storage === null) this.#early.set(message.idempotency_key, message);
    else void this.#try((storage) => storage.put(message));
  }

  /** It was not taken. Where nobody has refused it, the next life tries again. */
  failed(message: KeptMessage, error: ClientError): void {
    if (!(error instanceof this.#deps.GatewayError)) return;
    this.put({ ...message, refused: { code: error.code as ErrorCode, message: error.message } });
  }

  remove(idempotency_key: string): void {
    this.#early.delete(idempotency_key);
    void this.#try((storage) => storage.remove(idempotency_key));
  }

  #again({ session_id, message, idempotency_key, created_at, options, refused }: KeptMessage): void {
    const session = this.#deps.sessionOf(session_id);
    if (refused === undefined && Date.now() - created_at < KNOWN_MS) {
      // What becomes of it is told by the state.
      session.send(message, { ...options, idempotency_key }, created_at).catch(() => undefined);
      return;
    }
    const { code, message: why } = refused ?? TOO_OLD;
    session.state.queued(idempotency_key, message, options, created_at);
    session.state.failed(idempotency_key, new this.#deps.GatewayError(code, why));
  }

  async #try<T>(use: (storage: OutboxStorage) => T | Promise<T>): Promise<T | undefined> {
    try {
      return this.#storage === null ? undefined : await use(this.#storage);
    } catch {
      // It is full or forbidden: what is typed is sent all the same, in this life.
      return undefined;
    }
  }
}
