import { expect, test } from "bun:test";
import fc from "fast-check";
import type { ModelEvent, Provider } from "../../src/core/ports.ts";
import type { FoldEvent } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript } from "../../src/core/transcript.ts";
import type { Message } from "../../src/protocol/entities.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { routerOf } from "../adapter/provider.scripted.ts";
import { instantClock } from "../adapter/provider.support.ts";
import { call, ended, kinds, say, tool } from "../core/tools.fixture.ts";
import type { FakeConnection } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";

type Breaks = "passes" | "stays" | "throws" | "ends";
/** What one call of a model does. */
interface Attempt {
  /** So many pieces of text, each its own. */
  readonly pieces: number;
  readonly reasons: boolean;
  readonly calls: boolean;
  /** Whether it goes through: then it is done. */
  readonly breaks: Breaks | null;
}

const attempt: fc.Arbitrary<Attempt> = fc.record({
  pieces: fc.integer({ min: 0, max: 3 }),
  reasons: fc.boolean(),
  calls: fc.boolean(),
  breaks: fc.constantFrom<(Breaks | null)[]>("passes", "passes", "stays", "throws", "ends", null),
});
const play = fc.record({
  attempts: fc.array(attempt, { minLength: 1, maxLength: 8 }),
  /** Somebody stops the run once so many events were published; 0: nobody does. */
  stops: fc.constantFrom(0, 0, 0, 4, 5, 6, 8),
});

const END: Record<Breaks, ModelEvent[]> = {
  passes: [{ type: "error", error: new GatewayError("UPSTREAM_ERROR", "busy", { retryable: true }) }],
  stays: [{ type: "error", error: new GatewayError("UPSTREAM_ERROR", "no") }],
  throws: [],
  ends: [],
};

/** Two providers that play the attempts one after the other, whoever is asked; past the last one all goes well. */
function providers(attempts: readonly Attempt[]) {
  const made: Attempt[] = [];
  const provider = (name: string): Provider => ({
    name,
    state: () => ({ name, ready: true }),
    models: () => [],
    async *stream() {
      const n = made.length;
      const each = attempts[n] ?? { pieces: 1, reasons: false, calls: false, breaks: null };
      made.push(each);
      if (each.reasons) yield { type: "reasoning", text: `r${n}` };
      for (let i = 0; i < each.pieces; i++) {
        await new Promise((resolve) => setImmediate(resolve));
        yield { type: "text", text: `<${n}.${i}>` };
      }
      if (each.calls) yield { type: "tool_call", call: call("pay", { n }, `c${n}`) };
      if (each.breaks === "throws") throw new Error("a bug");
      if (each.breaks !== null) yield* END[each.breaks];
      else yield { type: "done", finish_reason: each.calls ? "tool_calls" : "stop" };
    },
  });
  return { made, list: [provider("a"), provider("b")] };
}

const textOf = (n: number, { pieces }: Attempt): string =>
  Array.from({ length: pieces }, (_, i) => `<${n}.${i}>`).join("");

async function stopAt(owner: FakeConnection, run_id: string, events: number): Promise<void> {
  await until(() => owner.events().length >= events || ended(owner)());
  await owner.request("chat.abort", { run_id });
}

test("whatever breaks whenever, a message stands once, whole or as its last beginning, and a call is made once", async () => {
  await fc.assert(
    fc.asyncProperty(play, async ({ attempts, stops }) => {
      const { made, list } = providers(attempts);
      const router = routerOf(list, { fallback: ["b/m"], max_retries: 2, clock: instantClock() });
      const paid: unknown[] = [];
      const pay = tool("pay", async ({ n }) => {
        paid.push(n);
        return "paid";
      });
      const engine = await startEngine({
        tools: [pay],
        script: (request, signal) => router.stream({ ...request, model: "a/m" }, { signal }),
      });
      try {
        const owner = engine.connect();
        const { run_id } = await say(owner);
        if (stops > 0) await stopAt(owner, run_id, stops);
        await until(ended(owner));
        const { messages } = await owner.request<{ messages: Message[] }>("chat.history", {
          session_id: "s",
        });

        const folded = emptyTranscript();
        for (const event of owner.events()) expect(applyEvent(folded, event as FoldEvent)).toBe("ok");
        expect(folded.messages).toEqual(messages);
        expect(kinds(owner).filter((kind) => /^run\.(completed|failed|aborted)$/.test(kind))).toHaveLength(1);

        // What went through stands whole, in its order; behind it perhaps what was begun last, and nothing else.
        const answers = messages.filter(({ role }) => role === "assistant");
        const whole = made.flatMap((each, n) => (each.breaks === null ? [textOf(n, each)] : []));
        const complete = answers.filter(({ status }) => status === "complete").map(({ content }) => content);
        expect(whole.slice(0, complete.length)).toEqual(complete);
        const rest = answers.slice(complete.length);
        expect(rest.length).toBeLessThanOrEqual(1);
        for (const { status, content } of rest) {
          expect(status).toBe("partial");
          expect(made.some((each, n) => textOf(n, each).startsWith(content))).toBe(true);
        }
        if (stops === 0) expect(complete).toEqual(whole);

        expect(new Set(paid).size).toBe(paid.length);
        for (const n of paid) expect(made[Number(n)]).toMatchObject({ calls: true, breaks: null });
        const started = owner.events().filter(({ event }) => event === "message.started").length;
        const discarded = owner.events().filter(({ event }) => event === "message.discarded").length;
        expect(started - discarded).toBe(answers.length);
      } finally {
        await engine.close();
      }
    }),
    { numRuns: 150 },
  );
}, 60_000);
