import { Tokens } from "./model.ts";

interface Frame {
  readonly event: string;
  readonly session_id: string;
  readonly seq: number;
  readonly payload: { readonly text?: string; readonly off?: number; readonly length?: number };
}

/** Whether a reader of one session got every token of its answer once and in order. */
export class StreamCheck {
  doubled = 0;
  reordered = 0;
  frames = 0;
  completed = false;
  readonly #seen: Uint8Array;
  readonly #tokens: Tokens;
  #highest = -1;
  #seq = -1;
  #length = 0;
  #broken = 0;

  constructor(tokens: number, onToken: (stamp: number) => void) {
    this.#seen = new Uint8Array(tokens);
    this.#tokens = new Tokens((index, stamp) => {
      this.#token(index);
      onToken(stamp);
    });
  }

  /** Tokens that never came, and frames that did not continue the one before. */
  get lost(): number {
    return this.#seen.reduce((sum, seen) => sum + (seen === 0 ? 1 : 0), 0) + this.#broken;
  }

  /** True with the last event of the run. */
  take({ event, seq, payload }: Frame): boolean {
    if (this.#seq >= 0 && seq !== this.#seq + 1) this.#broken++;
    this.#seq = seq;
    switch (event) {
      case "message.delta": {
        const text = payload.text ?? "";
        if (payload.off !== this.#length) this.#broken++;
        this.#length += text.length;
        this.frames++;
        this.#tokens.push(text);
        return false;
      }
      case "message.completed":
        if (payload.length !== this.#length) this.#broken++;
        return false;
      case "run.completed":
        this.completed = true;
        return true;
      case "run.failed":
      case "run.aborted":
      case "run.interrupted":
        return true;
      default:
        return false;
    }
  }

  #token(index: number): void {
    if (this.#seen[index] === 1) this.doubled++;
    else if (index < this.#highest) this.reordered++;
    this.#seen[index] = 1;
    this.#highest = Math.max(this.#highest, index);
  }
}
