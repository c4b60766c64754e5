import type { ModelEvent } from "../../src/core/ports.ts";
import type { EventFrame } from "../../src/protocol/frames.ts";
import type { Script } from "../support/engine.ts";
import type { ServerEvent } from "../support/sse-client.ts";

/** The frame an event of `…/events` carries. */
export function frameOf(event: ServerEvent | undefined): EventFrame {
  return JSON.parse(event?.data ?? "null") as EventFrame;
}

export function isSynced(event: ServerEvent): boolean {
  return event.event === "session.synced";
}
export function isEndOfRun(event: ServerEvent): boolean {
  return /^run\.(completed|failed|aborted|interrupted)$/.test(event.event);
}

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
export function framesOf(events: readonly ServerEvent[]): any[] {
  return events.map((event) => JSON.parse(event.data));
}

/** The text of a one-shot stream. */
export function textOf(events: readonly ServerEvent[]): string {
  return framesOf(events)
    .filter((frame) => frame.type === "token")
    .map((frame) => frame.content)
    .join("");
}

/** A model that yields these, a turn of the event loop before each. */
export function scripted(...events: ModelEvent[]): Script {
  return async function* () {
    for (const event of events) {
      await new Promise((resolve) => setImmediate(resolve));
      yield event;
    }
  };
}

/** A model that says what it is told, when it is told, until it is told to stop. */
export function toldModel(): { readonly script: Script; say(text: string): void; stop(): void } {
  const said: (string | null)[] = [];
  let wake: () => void = () => undefined;
  const put = (text: string | null): void => {
    said.push(text);
    wake();
  };
  return {
    say: put,
    stop: () => put(null),
    script: async function* (_request, signal) {
      for (;;) {
        while (said.length === 0 && !signal.aborted) {
          const { promise, resolve } = Promise.withResolvers<void>();
          wake = resolve;
          signal.addEventListener("abort", () => resolve(), { once: true });
          await promise;
        }
        if (signal.aborted) return yield { type: "aborted" };
        const text = said.shift();
        if (text === null || text === undefined) break;
        yield { type: "text", text };
      }
      yield { type: "usage", usage: { input_tokens: 3, output_tokens: 2 } };
      yield { type: "done", finish_reason: "stop" };
      return undefined;
    },
  };
}
