/** What one read of the body completed. */
export interface SseEvent {
  /** "" where the server named none. */
  readonly event: string;
  readonly data: string;
}

/** Splits a `text/event-stream` body, holding no more than one event of at most `max_bytes`. */
export interface SseReader {
  /** @throws RangeError once a line, or the lines of one event, are longer than `max_bytes`. */
  push(bytes: Uint8Array): SseEvent[];
  /** The event the body ended in the middle of, if any. */
  end(): SseEvent[];
}

/** The SDK's own reader has no bound on a line, which a hostile server would use. */
export function createSseReader(max_bytes: number): SseReader {
  const decoder = new TextDecoder();
  // Pieces of a line that has not ended. Joined only when it does: searching what was searched before would let a
  // server that sends single bytes make every one of them cost the whole line.
  let pieces: string[] = [];
  let pending = 0;
  let event = "";
  let data: string[] = [];
  let events: SseEvent[] = [];

  function hold(length: number): void {
    pending += length;
    if (pending > max_bytes) throw new RangeError(`an event is longer than ${max_bytes} bytes`);
  }

  function line(text: string): void {
    if (text === "") {
      if (data.length > 0) events.push({ event, data: data.join("\n") });
      data = [];
      event = "";
      pending = 0;
      return;
    }
    const colon = text.indexOf(":");
    const field = colon < 0 ? text : text.slice(0, colon);
    if (field !== "data" && field !== "event") {
      pending -= text.length;
      return;
    }
    const value = colon < 0 ? "" : text.slice(text[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") data.push(value);
    else event = value;
  }

  function take(text: string): void {
    let from = 0;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", from)) {
      hold(at - from);
      pieces.push(text.slice(from, at));
      const whole = pieces.length === 1 ? (pieces[0] as string) : pieces.join("");
      pieces = [];
      from = at + 1;
      if (whole.endsWith("\r")) {
        pending--;
        line(whole.slice(0, -1));
      } else line(whole);
    }
    if (from === text.length) return;
    hold(text.length - from);
    pieces.push(text.slice(from));
  }

  function taken(): SseEvent[] {
    const out = events;
    events = [];
    return out;
  }

  return {
    push(bytes) {
      take(decoder.decode(bytes, { stream: true }));
      return taken();
    },
    end() {
      take(`${decoder.decode()}\n\n`);
      return taken();
    },
  };
}
