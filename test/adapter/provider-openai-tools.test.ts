import { describe, expect, test } from "bun:test";
import type { Script } from "../support/model-script.ts";
import { errorOf } from "./provider.conformance.ts";
import { answered, callsIn, chunks, piece } from "./provider.support.ts";

/** What servers are known to send where a model calls tools, and what is made of it. */

type Call = readonly [name: string, args: string, id?: string];

const [A, B] = ['{"path":"a.rs"}', '{"path":"b.rs"}'];

describe("calls in a stream", () => {
  const quirks: [string, (reply: Script) => Script, readonly Call[]][] = [
    [
      "as OpenAI and Azure send them",
      chunks(
        [piece(0, "call_a", "read", "")],
        [piece(0, null, null, '{"path":')],
        [piece(0, null, null, '"a.rs"}')],
        [piece(1, "call_b", "list", "")],
        [piece(1, null, null, B)],
      ),
      [
        ["read", A, "call_a"],
        ["list", B, "call_b"],
      ],
    ],
    [
      "with null and empty in place of what is not said (SGLang, vLLM)",
      chunks(
        [piece(0, "call_a", "read", null)],
        [{ index: 0, id: null, type: null, function: { name: null, arguments: '{"path":' } }],
        [piece(0, "", "", '"a.rs"}')],
      ),
      [["read", A, "call_a"]],
    ],
    [
      "whole, each with the index 0 (Ollama)",
      chunks([piece(0, "call_a", "read", A)], [piece(0, "call_b", "read", B)]),
      [
        ["read", A, "call_a"],
        ["read", B, "call_b"],
      ],
    ],
    [
      "whole, with the index 0 and without an id",
      chunks([piece(0, null, "read", A)], [piece(0, null, "read", B)], [piece(0, "", "list", "{}")]),
      [
        ["read", A],
        ["read", B],
        ["list", "{}"],
      ],
    ],
    [
      "whole, without an index (Gemini, Ollama of old)",
      chunks([piece(null, "call_a", "read", A)], [piece(null, "call_b", "list", B)]),
      [
        ["read", A, "call_a"],
        ["list", B, "call_b"],
      ],
    ],
    [
      "without an index and an id, in one chunk",
      chunks([piece(null, null, "read", A), piece(null, "", "read", B), piece(null, "", "time")]),
      [
        ["read", A],
        ["read", B],
        ["time", "{}"],
      ],
    ],
    [
      "without an index, in pieces that are told apart by their id",
      chunks(
        [piece(null, "call_a", "read", '{"path":')],
        [piece(null, "call_b", "list", '{"path":')],
        [piece(null, "call_a", null, '"a.rs"}')],
        [piece(null, "call_b", null, '"b.rs"}')],
      ),
      [
        ["read", A, "call_a"],
        ["list", B, "call_b"],
      ],
    ],
    [
      "without an index, in pieces that follow (a proxy of Gemini)",
      chunks([piece(null, "call_a", "read", '{"path"')], [piece(null, "", "", ':"a.rs"}')]),
      [["read", A, "call_a"]],
    ],
    [
      "the arguments of the second under the index of the first, without a word",
      chunks([piece(0, "call_a", "read", "")], [piece(0, null, "", A)], [piece(0, null, "", B)]),
      [
        ["read", A, "call_a"],
        ["read", B],
      ],
    ],
    [
      "with an id and a name that come late",
      chunks(
        [piece(0, null, null, '{"path":')],
        [piece(0, null, "read", '"a.rs"}')],
        [piece(0, "call_a", null, "")],
      ),
      [["read", A, "call_a"]],
    ],
    [
      "with the name, or all of it, said again in every piece",
      chunks(
        [piece(0, "call_a", "read", '{"path":')],
        [piece(0, "call_a", "read", '"a.rs"}')],
        [piece(1, null, "list", '{"path":')],
        [piece(1, null, "list", '"b.rs"}')],
      ),
      [
        ["read", A, "call_a"],
        ["list", B],
      ],
    ],
    [
      "with another id in every piece (vLLM)",
      chunks(
        [piece(0, "chatcmpl-tool-1", "read", "")],
        [piece(0, "chatcmpl-tool-2", null, '{"path":')],
        [piece(0, "chatcmpl-tool-3", null, '"a.rs"}')],
      ),
      [["read", A, "chatcmpl-tool-1"]],
    ],
    [
      "with an empty object before the arguments themselves",
      chunks(
        [piece(0, "toolu_a", "read", "{}")],
        [piece(0, null, null, '{"path":')],
        [piece(0, null, null, '"a.rs"}')],
      ),
      [["read", A, "toolu_a"]],
    ],
    [
      "with arguments that are an object",
      chunks([piece(0, "call_a", "read", { path: "a.rs" })], [piece(1, "call_b", "time", {})]),
      [
        ["read", A, "call_a"],
        ["time", "{}", "call_b"],
      ],
    ],
    [
      "without arguments at all",
      chunks(
        [piece(0, "call_a", "time")],
        [piece(1, "call_b", "time", "")],
        [piece(2, "call_c", "time", "  ")],
      ),
      [
        ["time", "{}", "call_a"],
        ["time", "{}", "call_b"],
        ["time", "{}", "call_c"],
      ],
    ],
    [
      "two with one id",
      chunks([piece(0, "same", "read", A)], [piece(1, "same", "read", B)]),
      [
        ["read", A, "same"],
        ["read", B],
      ],
    ],
    [
      "two with one id and one index, or none",
      chunks([piece(0, "same", "read", A)], [piece(0, "same", "read", B)], [piece(null, "same", "list", A)]),
      [
        ["read", A, "same"],
        ["read", B],
        ["list", A],
      ],
    ],
    [
      "with braces inside of strings and objects, wherever they are cut",
      chunks(
        [piece(0, "call_a", "edit", '{"old":"if (x) {}')],
        [piece(0, null, null, '{ y() }","new":{"a":{}')],
        [piece(0, null, null, ',"b":')],
        [piece(0, null, null, "{}}}")],
      ),
      [["edit", '{"old":"if (x) {}{ y() }","new":{"a":{},"b":{}}}', "call_a"]],
    ],
    [
      "with what is no call between them",
      (reply) =>
        reply
          .delta({ content: null, tool_calls: null })
          .delta({ tool_calls: {} })
          .delta({
            tool_calls: [null, 7, "x", [], {}, { index: "0", function: 3 }, piece(3, "call_x", "", "{}")],
          })
          .delta({ tool_calls: [piece(5, "call_a", "read", A)] })
          .raw('data: {"choices":[]}\n\ndata: {"choices":null}\n\n'),
      [["read", A, "call_a"]],
    ],
  ];
  test.each(quirks)("%s", async (_, write, expected) => {
    const events = await answered(write);
    const calls = callsIn(events);
    expect(calls.map(({ name, arguments: args }) => [name, args])).toEqual(
      expected.map(([name, args]) => [name, args]),
    );
    for (const [at, [, , id]] of expected.entries()) {
      if (id === undefined) expect(calls[at]?.tool_call_id).toMatch(/^[a-z0-9]{9}$/);
      else expect(calls[at]?.tool_call_id).toBe(id);
    }
    expect(new Set(calls.map(({ tool_call_id }) => tool_call_id)).size).toBe(calls.length);
    expect(events.at(-1)?.type).toBe("done");
  });

  test("are calls whatever the reason to have ended is called, and come after the text", async () => {
    for (const reason of ["stop", "tool_calls", "function_call", "length"]) {
      const events = await answered((reply) => reply.text("let me see").tool("time", {}).finish(reason));
      expect(events.map(({ type }) => type)).toEqual(["text", "tool_call", "done"]);
    }
  });

  test("of a stream that is cut are none", async () => {
    const events = await answered((reply) => reply.tool("time", {}).cut());
    expect(callsIn(events)).toEqual([]);
    expect(errorOf(events).message).toBe("the model's stream was cut");
  });
});

describe("calls of an answer that is no stream", () => {
  test.each([["stop"], ["tool_calls"]])("with the reason %s", async (reason) => {
    const events = await answered((reply) =>
      reply.tool("read", A, { id: "call_a" }).tool("read", B, { id: "call_b" }).finish(reason).whole(),
    );
    expect(callsIn(events).map(({ tool_call_id, arguments: args }) => [tool_call_id, args])).toEqual([
      ["call_a", A],
      ["call_b", B],
    ]);
  });

  test("with nothing in it but the call", async () => {
    const message = {
      content: null,
      tool_calls: [{ function: { name: "read", arguments: { path: "a.rs" } } }],
    };
    const body = JSON.stringify({ choices: [{ message }] });
    const events = await answered((reply) => reply.status(200, { body }));
    expect(callsIn(events)).toMatchObject([{ name: "read", arguments: A }]);
  });
});

test("usage counts wherever it stands: in every chunk, in the choice, with the finish reason", async () => {
  const used = (output: number) => `{"prompt_tokens":5,"completion_tokens":${output}}`;
  const chunk = (rest: string) => `data: {"choices":[{"index":0,"delta":{"content":"x"}${rest}\n\n`;
  for (const raw of [
    chunk(`}],"usage":${used(1)}}`) + chunk(`,"finish_reason":"stop"}],"usage":${used(2)}}`),
    chunk(`}],"usage":null}`) + chunk(`,"finish_reason":"stop","usage":${used(2)}}]}`),
  ]) {
    const events = await answered((reply) => reply.raw(raw));
    expect(events.filter(({ type }) => type === "usage")).toEqual([
      { type: "usage", usage: { input_tokens: 5, output_tokens: 2 } },
    ]);
  }
});
