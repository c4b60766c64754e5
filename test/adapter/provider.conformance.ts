import { describe, expect, test } from "bun:test";
import type { ModelEvent, ModelRequest, Provider } from "../../src/core/ports.ts";
import { GatewayError } from "../../src/protocol/errors.ts";

/** One provider under test, with messages that make its model behave in a certain way. */
export interface ProviderHarness extends AsyncDisposable {
  readonly provider: Provider;
  readonly model: string;
  /** Answered with text and usage. */
  readonly plain: string;
  /** Answered with hundreds of deltas over some time. */
  readonly long: string;
  /** Answered with some text and then a failure. */
  readonly failing: string;
  /** Resolves when the upstream has noticed that the call was given up. */
  noticed(): Promise<void>;
}

export function requestOf(model: string, ...contents: string[]): ModelRequest {
  const messages = contents.map((content) => ({ role: "user", content }) as const);
  return { model, messages, session_id: "ses_test", run_id: "run_test" };
}

const never = new AbortController().signal;

/** Every event of a stream, which must neither throw nor go on after its end. */
export async function collect(
  provider: { stream: Provider["stream"] },
  request: ModelRequest,
  signal: AbortSignal = never,
): Promise<ModelEvent[]> {
  const events: ModelEvent[] = [];
  for await (const event of provider.stream(request, { signal })) events.push(event);
  const ends = events.filter((event) => isEnd(event));
  expect(ends).toHaveLength(1);
  expect(isEnd(events.at(-1))).toBe(true);
  return events;
}

export function textOf(events: readonly ModelEvent[], type: "text" | "reasoning" = "text"): string {
  return events.map((event) => (event.type === type ? event.text : "")).join("");
}

/** The error a stream ended with. */
export function errorOf(events: readonly ModelEvent[]): GatewayError {
  const last = events.at(-1);
  if (last?.type !== "error") throw new Error(`ended with ${JSON.stringify(last)}, not with an error`);
  expect(last.error).toBeInstanceOf(GatewayError);
  expect(last.error.message.length).toBeLessThanOrEqual(300);
  return last.error;
}

function isEnd(event: ModelEvent | undefined): boolean {
  return event?.type === "done" || event?.type === "error" || event?.type === "aborted";
}

/** What holds for every provider. */
export function describeProvider(name: string, start: () => Promise<ProviderHarness>): void {
  describe(`provider: ${name}`, () => {
    test("says what it is without asking anybody", async () => {
      await using harness = await start();
      const { provider, model } = harness;
      expect(provider.state()).toEqual({ name: provider.name, ready: true });
      expect(provider.models()).toContain(model);
    });

    test("an answer is text, usage and one done", async () => {
      await using harness = await start();
      const events = await collect(harness.provider, requestOf(harness.model, harness.plain));
      expect(textOf(events).length).toBeGreaterThan(0);
      const others = events.filter((event) => event.type !== "text");
      expect(others).toEqual([
        {
          type: "usage",
          usage: { input_tokens: expect.any(Number), output_tokens: expect.any(Number) },
        },
        { type: "done", finish_reason: "stop" },
      ]);
    });

    test("no text is empty or splits a pair", async () => {
      await using harness = await start();
      const events = await collect(harness.provider, requestOf(harness.model, `${harness.plain} 😀😀😀`));
      for (const event of events) {
        if (event.type !== "text") continue;
        expect(event.text).not.toBe("");
        expect(event.text.isWellFormed()).toBe(true);
      }
    });

    test("a call that is aborted already is not made", async () => {
      await using harness = await start();
      const events = await collect(
        harness.provider,
        requestOf(harness.model, harness.plain),
        AbortSignal.abort(),
      );
      expect(events).toEqual([{ type: "aborted" }]);
    });

    test("an abort in the middle is the end, at once", async () => {
      await using harness = await start();
      const abort = new AbortController();
      const events: ModelEvent[] = [];
      for await (const event of harness.provider.stream(requestOf(harness.model, harness.long), {
        signal: abort.signal,
      })) {
        events.push(event);
        if (events.length === 3) abort.abort();
      }
      expect(events.map((event) => event.type)).toEqual(["text", "text", "text", "aborted"]);
      await harness.noticed();
    });

    test("an abort while nothing is read is the end too", async () => {
      await using harness = await start();
      const abort = new AbortController();
      const stream = harness.provider.stream(requestOf(harness.model, harness.long), {
        signal: abort.signal,
      });
      const iterator = stream[Symbol.asyncIterator]();
      expect((await iterator.next()).value).toMatchObject({ type: "text" });
      const waiting = iterator.next();
      abort.abort();
      const rest = [await waiting, await iterator.next(), await iterator.next()];
      expect(rest.filter(({ value }) => value?.type === "aborted")).toHaveLength(1);
      expect(rest.at(-1)).toEqual({ value: undefined, done: true });
      await harness.noticed();
    });

    test("a reader that leaves leaves nothing open", async () => {
      await using harness = await start();
      for await (const event of harness.provider.stream(requestOf(harness.model, harness.long), {
        signal: never,
      })) {
        expect(event.type).toBe("text");
        break;
      }
      await harness.noticed();
    });

    test("a failure comes after the text that came before it", async () => {
      await using harness = await start();
      const events = await collect(harness.provider, requestOf(harness.model, harness.failing));
      expect(textOf(events)).not.toBe("");
      const error = errorOf(events);
      expect(error.reason).toBe("UPSTREAM_ERROR");
      expect(error.details).toMatchObject({ provider: harness.provider.name });
    });

    test("calls at the same time do not mix", async () => {
      await using harness = await start();
      const request = requestOf(harness.model, harness.long);
      const all = await Promise.all(Array.from({ length: 20 }, () => collect(harness.provider, request)));
      const texts = new Set(all.map((events) => textOf(events)));
      expect(texts.size).toBe(1);
      expect([...texts][0]?.length).toBeGreaterThan(500);
    });
  });
}
