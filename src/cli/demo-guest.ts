import type { Client } from "../client/client.ts";
import { createClient } from "../client/client.ts";
import type { FoldedRun } from "../client/change.ts";
import type { Transcript } from "../client/fold.ts";
import { createTranscript } from "../client/fold.ts";
import type { EventFrame } from "../protocol/frames.ts";
import { CommandError } from "./exit.ts";

/** A client of the demo that writes down everything it is told of one session. */
export interface Guest {
  readonly name: string;
  readonly client: Client;
  /** Every event, as JSON, in the order it came. */
  readonly events: readonly string[];
  readonly transcript: Transcript;
  /** message_id → the text its pieces made and the sha256 the gateway gives for it. */
  readonly finished: ReadonlyMap<
    string,
    { readonly text: string; readonly sha256: string; readonly pieces: number }
  >;
  /** How often it had to come back. */
  readonly returns: number;
  /** Cuts its socket without a word, as a lost network does. */
  cut(): void;
  /** Resolves when the condition holds. @throws CommandError when it does not within 30 s */
  until(what: string, holds: () => boolean): Promise<void>;
}

/** Bun's own way to end a socket as a broken line does. */
type BunSocket = WebSocket & { terminate(): void };

const PATIENCE_MS = 30_000;
const TERMINAL: ReadonlySet<string> = new Set(["completed", "failed", "aborted", "interrupted"]);

/** Connects, and follows the session from its first event on. */
export async function invite(
  name: string,
  url: string,
  token: string,
): Promise<Guest & { follow(session_id: string): void }> {
  const guest = new RecordingGuest(name, url, token);
  await guest.client.connect();
  return guest;
}

export function ended(run: FoldedRun | undefined): boolean {
  return run !== undefined && TERMINAL.has(run.status);
}

class RecordingGuest implements Guest {
  readonly name: string;
  readonly client: Client;
  readonly events: string[] = [];
  readonly transcript = createTranscript();
  readonly finished = new Map<string, { text: string; sha256: string; pieces: number }>();
  returns = 0;
  readonly #pieces = new Map<string, number>();
  readonly #waiting = new Set<() => void>();
  #socket: BunSocket | null = null;
  #failure: CommandError | null = null;

  constructor(name: string, url: string, token: string) {
    this.name = name;
    const keep = (socket: WebSocket): void => void (this.#socket = socket as BunSocket);
    const Kept = class extends WebSocket {
      constructor(address: string) {
        super(address);
        keep(this);
      }
    } as unknown as typeof WebSocket;
    this.client = createClient({
      url,
      auth_token: token,
      client_name: name,
      platform: "demo",
      transport: "websocket",
      WebSocket: Kept,
    });
    this.client.on("state", ({ state, error }) => {
      if (state === "reconnecting") this.returns++;
      if (state === "closed" && error?.code !== "ABORTED")
        this.#fail(`${name} was sent away: ${error?.message}`);
    });
  }

  follow(session_id: string): void {
    this.client.subscribe(
      session_id,
      { after: 0, catch_up: "log" },
      {
        opened: ({ mode }) => {
          if (mode !== "resume") this.#fail(`${this.name} had to start over (${mode})`);
        },
        event: (frame) => this.#take(frame),
        ended: (error) => this.#fail(error.message),
      },
    );
  }

  cut(): void {
    this.#socket?.terminate();
  }

  until(what: string, holds: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        if (this.#failure === null && !holds()) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        if (this.#failure === null) resolve();
        else reject(this.#failure);
      };
      const late = new CommandError(`${this.name} waited ${PATIENCE_MS / 1_000} s for ${what}`);
      const timer = setTimeout(() => {
        this.#waiting.delete(check);
        reject(late);
      }, PATIENCE_MS);
      this.#waiting.add(check);
      check();
    });
  }

  #take(frame: EventFrame): void {
    this.events.push(JSON.stringify(frame));
    const change = this.transcript.apply(frame);
    if (change.kind === "gap") this.#fail(`${this.name} misses what comes before event ${frame.seq}`);
    if (change.kind === "text") {
      const { message_id } = change.message;
      this.#pieces.set(message_id, (this.#pieces.get(message_id) ?? 0) + 1);
    }
    if (change.kind === "completed") {
      const { message_id } = change.message;
      const pieces = this.#pieces.get(message_id) ?? 0;
      this.finished.set(message_id, { text: change.streamed ?? "", sha256: change.sha256, pieces });
    }
    for (const check of this.#waiting) check();
  }

  #fail(message: string): void {
    this.#failure ??= new CommandError(message);
    for (const check of this.#waiting) check();
  }
}
