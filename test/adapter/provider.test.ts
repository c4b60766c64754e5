import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { Clock } from "../../src/core/ports.ts";
import { SUMMARY_PROMPT } from "../../src/core/summary.ts";
import { titleOf } from "../../src/core/title.ts";
import { createDemoProvider } from "../../src/provider/demo.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { script } from "../support/model-script.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, describeProvider, errorOf, requestOf, textOf } from "./provider.conformance.ts";
import { instantClock, openAiOptions } from "./provider.support.ts";

describeProvider("openai", async () => {
  const model = await startModelServer();
  model.otherwise(({ body }) => {
    const said = String(body.messages.at(-1).content);
    if (said.startsWith("long")) return script().tokens(300, { everyMs: 2 });
    if (said.startsWith("fail"))
      return script().text("half of it", { chunks: 3 }).errorInStream("out of memory");
    return script().text(`you said ${said}`, { chunks: 9 }).usage({ prompt_tokens: 3, completion_tokens: 9 });
  });
  return {
    provider: createOpenAiProvider(openAiOptions(model.url(), { models: ["test-model"] })),
    model: "test-model",
    plain: "hello",
    long: "long",
    failing: "fail",
    noticed: () => model.waitForAbort(),
    [Symbol.asyncDispose]: async () => model.stop(),
  };
});

/** Time that passes so many times faster. */
function faster(times: number): Clock {
  return { ...systemClock, after: (ms, task) => systemClock.after(ms / times, task) };
}
describeProvider("demo", async () => ({
  provider: createDemoProvider({ clock: faster(5) }),
  model: "demo",
  plain: "hello",
  long: "/long 300",
  failing: "/fail",
  noticed: async () => {},
  [Symbol.asyncDispose]: async () => {},
}));

describe("the demo model", () => {
  const provider = createDemoProvider({ clock: instantClock() });

  test("quotes the last message and says how to get a real model, in many small pieces over a moment", async () => {
    const began = performance.now();
    const events = await collect(
      createDemoProvider({ clock: systemClock }),
      requestOf("demo", "first", "what is a lane?"),
    );
    const took = performance.now() - began;
    const text = textOf(events);
    expect(text).toContain("“what is a lane?”");
    expect(text).not.toContain("first");
    const [line] = text.split("\n").filter((each) => each.includes("[llm.providers.openai]"));
    expect(line).toContain("OPENAI_API_KEY");
    expect(line).toContain("agentbus init");
    expect(events.filter((event) => event.type === "text").length).toBeGreaterThanOrEqual(40);
    expect(took).toBeGreaterThan(1_000);
  });

  test("counts as far as /long says, and no further than it may", async () => {
    const events = await collect(provider, requestOf("demo", "please /long 120 now"));
    expect(textOf(events)).toBe(Array.from({ length: 120 }, (_, index) => index + 1).join(" "));
    expect(events.at(-2)).toEqual({
      type: "usage",
      usage: { input_tokens: 4, output_tokens: 120 },
    });
    const endless = await collect(
      createDemoProvider({ clock: instantClock() }),
      requestOf("demo", "/long 999999999"),
    );
    expect(textOf(endless).split(" ")).toHaveLength(10_000);
  });

  test("takes its time with /slow", async () => {
    const waits: number[] = [];
    await collect(createDemoProvider({ clock: instantClock(waits) }), requestOf("demo", "/slow"));
    expect(new Set(waits)).toEqual(new Set([300]));
  });

  test("breaks off with /fail, and only where it is a word of its own", async () => {
    const error = errorOf(await collect(provider, requestOf("demo", "/fail")));
    expect(error.message).toBe("the demo model failed, as /fail asked it to");
    const events = await collect(provider, requestOf("demo", "/failure and /longish 5"));
    expect(events.at(-1)).toEqual({ type: "done", finish_reason: "stop" });
  });

  describe("that is asked to call a tool", () => {
    const spec = (name: string) => ({ name, description: "d", parameters: { type: "object" } });
    const request = (message: string, ...names: string[]) => ({
      ...requestOf("demo", message),
      tools: names.map(spec),
    });

    test("calls those there are, by name or with arguments", async () => {
      const message = 'please /time and\n/tool wiki.read {"page":"a b"}\nand /none, a/time, /timed';
      const events = await collect(provider, request(message, "time", "wiki.read"));
      expect(textOf(events)).toBe("I call time, wiki.read and tell you the answer.");
      const calls = events.flatMap((event) => (event.type === "tool_call" ? [event.call] : []));
      expect(calls).toEqual([
        { tool_call_id: "demo_1_0", name: "time", arguments: "{}" },
        { tool_call_id: "demo_1_1", name: "wiki.read", arguments: '{"page":"a b"}' },
      ]);
      expect(events.at(-1)).toEqual({ type: "done", finish_reason: "tool_calls" });
    });

    test("tells what was answered, and calls nothing again", async () => {
      const { messages, ...rest } = request("/time /fail /long 9", "time");
      const call = { tool_call_id: "c", name: "time", arguments: "{}" };
      const done = [
        { role: "assistant", content: "I call", tool_calls: [call] },
        { role: "tool", tool_call_id: "c", content: "12:00" },
      ] as const;
      const events = await collect(provider, { ...rest, messages: [...messages, ...done] });
      expect(textOf(events)).toStartWith("time answered: “12:00”\n\nYou said: “/time /fail /long 9”");
      expect(events.filter(({ type }) => type === "text").length).toBeGreaterThanOrEqual(40);
      expect(events.map(({ type }) => type)).not.toContain("tool_call");
      const again = await collect(provider, {
        ...rest,
        messages: [...messages, ...done, { role: "user", content: "/time" }],
      });
      expect(again.map(({ type }) => type)).toContain("tool_call");
    });

    test("says which there are, and what is none", async () => {
      const none = await collect(provider, request("/tool time and /time"));
      expect(textOf(none)).toStartWith("There is no tool time here.");
      expect(textOf(none)).toContain(
        'With builtin = ["time"] in the section [tools] I call a tool at /time.',
      );
      expect(none.map(({ type }) => type)).not.toContain("tool_call");
      const some = textOf(await collect(provider, request("hello", "time", "skill")));
      expect(some).toEndWith("or have me call a tool: /time, /skill.");
    });
  });

  test("sums up a conversation it is given to summarise, and carries an earlier summary on", async () => {
    const lines = [
      { role: "summary", content: "they met" },
      { role: "user", content: "what is\na lane? /fail /long 9" },
      { role: "assistant", content: `a queue ${"😀".repeat(500)}` },
    ];
    const conversation = `${lines.map((line) => JSON.stringify(line)).join("\n")}\n\nThe end.`;
    const { messages, ...request } = requestOf("demo", conversation);
    const prompt = { role: "system", content: SUMMARY_PROMPT } as const;
    const events = await collect(provider, { ...request, messages: [prompt, ...messages] });
    const text = textOf(events);
    expect(text.split("\n").slice(0, 3)).toEqual([
      "they met",
      "2 messages, as the demo model sums them up:",
      "- user: what is a lane? /fail /long 9",
    ]);
    expect(text).toMatch(/\n- assistant: a queue (😀)+…$/u);
    expect(events.at(-1)).toEqual({ type: "done", finish_reason: "stop" });
  });

  test("names a conversation by how it began, whatever it was asked to do in it", async () => {
    const messages = titleOf([
      { role: "user", content: "/slow /long 9000 what is\na lane, and what is it for?" },
      { role: "assistant", content: "1 2 3" },
    ]);
    const waits: number[] = [];
    const told = createDemoProvider({ clock: instantClock(waits) });
    const text = textOf(await collect(told, { ...requestOf("demo", ""), messages: messages ?? [] }));
    expect(text).toBe("/slow /long 9000 what is a lane, and");
    expect(waits.reduce((sum, each) => sum + each, 0)).toBeLessThan(1_000);
  });

  test("quotes a long message in part, without splitting a pair", async () => {
    const text = textOf(await collect(provider, requestOf("demo", `x${"😀".repeat(5_000)}`)));
    expect(text.length).toBeLessThan(2_000);
    expect(text.isWellFormed()).toBe(true);
  });
});
