import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Person, Stack } from "../gateway/stack.ts";
import { startStack } from "../gateway/stack.ts";
import type { Bend } from "../support/bent-proxy.ts";
import { startBentProxy } from "../support/bent-proxy.ts";
import { agentbus, workplace } from "../support/executable.ts";
import { script } from "../support/model-script.ts";

let stack: Stack;
let user: Person;
beforeAll(async () => {
  stack = await startStack();
  stack.model.otherwise(() => script().tokens(40, { everyMs: 3 }));
  // Nothing of it needs an administrator.
  user = await stack.guest({ user: "checker", role: "user" });
});
afterAll(() => stack[Symbol.asyncDispose]());

interface Result {
  readonly code: number;
  readonly checks: readonly {
    readonly name: string;
    readonly status: string;
    readonly expected: string;
    readonly seen: string;
  }[];
}

async function held(url: string, token = user.token): Promise<Result> {
  using place = workplace();
  place.file("token", token);
  const argv = ["demo", "--url", url, "--token-file", join(place.path, "token"), "--json"];
  const { code, out } = await agentbus(argv, { cwd: place.path });
  return { code, checks: JSON.parse(out).checks };
}

const failed = ({ checks }: Result): string[] =>
  checks.filter(({ status }) => status === "FAIL").map(({ name }) => name);

describe("every check holds", () => {
  const all = (result: Result): void => {
    expect(result.checks.filter(({ status }) => status !== "ok")).toEqual([]);
    expect(result.code).toBe(0);
    expect(result.checks.length).toBeGreaterThan(25);
  };

  test("against the gateway, and nothing is left behind", async () => {
    all(await held(stack.gateway.url));
    expect((await user.call("session.list")).sessions).toEqual([]);
  }, 60_000);

  test("through a plain proxy", async () => {
    await using proxy = startBentProxy(stack.gateway.url, {});
    all(await held(proxy.url));
  }, 60_000);
});

/** Of one socket, the nth delta and what becomes of it. */
function nthDelta(nth: number, change: (text: string) => readonly string[]): Bend {
  return {
    frames() {
      let deltas = 0;
      return (text) => (text.includes('"event":"message.delta"') && ++deltas === nth ? change(text) : [text]);
    },
  };
}

/** Two deltas change places. */
function reordered(): Bend {
  return {
    frames() {
      let deltas = 0;
      let held_back: string | null = null;
      return (text) => {
        if (!text.includes('"event":"message.delta"')) return [text];
        if (++deltas === 3) {
          held_back = text;
          return [];
        }
        const both = held_back === null ? [text] : [text, held_back];
        held_back = null;
        return both;
      };
    },
  };
}

function edited(edit: (text: string) => string): Bend {
  return {
    stream: (body) =>
      body
        .pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>)
        .pipeThrough(
          new TransformStream<string, string>({ transform: (text, out) => out.enqueue(edit(text)) }),
        )
        .pipeThrough(new TextEncoderStream()),
  };
}

describe("a proxy that", () => {
  test.each<[string, Bend, readonly string[]]>([
    ["drops an event", nthDelta(3, () => []), ["order.answer_first", "resume.replay"]],
    ["sends one twice", nthDelta(3, (text) => [text, text]), ["order.answer_first"]],
    ["changes the order of two", reordered(), ["order.answer_first"]],
    [
      "counts by itself",
      {
        frames: () => (text) => [
          text.replace(/"seq":(\d+),"ts"/, (_, seq) => `"seq":${Number(seq) + 1},"ts"`),
        ],
      },
      ["order.answer_first"],
    ],
    [
      "changes what was said",
      nthDelta(3, (text) => [text.replace(/"text":"./, '"text":"#')]),
      ["order.text", "sse.framing"],
    ],
    [
      "takes the ids out of event streams",
      edited((text) => text.replaceAll(/^id: .*\n/gm, "")),
      ["sse.framing", "oneshot.stream"],
    ],
    [
      "takes the names out of event streams",
      edited((text) => text.replaceAll(/^event: .*\n/gm, "")),
      ["sse.framing"],
    ],
    ["holds event streams back", { stream: (body) => new Response(body).text() }, ["sse.unbuffered"]],
  ])(
    "%s is found out, by name",
    async (_what, bend, names) => {
      await using proxy = startBentProxy(stack.gateway.url, bend);
      const result = await held(proxy.url);
      expect(result.code).toBe(1);
      // With the first one there may be no log that the others could look at.
      expect(failed(result)).toContain(names[0] as string);
      for (const name of names)
        expect(result.checks.find((each) => each.name === name)?.status).not.toBe("ok");
      const { expected, seen } = result.checks.find(({ name }) => name === names[0]) ?? {
        expected: "",
        seen: "",
      };
      expect([expected.length > 20, seen.length > 5]).toEqual([true, true]);
    },
    60_000,
  );
});

test("where nobody answers every check says so, and a wrong token is told", async () => {
  const refused = await held(stack.gateway.url, `agb_${"y".repeat(43)}`);
  expect(refused.code).toBe(1);
  expect(refused.checks[0]).toMatchObject({
    name: "handshake.connect",
    status: "FAIL",
    seen: expect.stringContaining("UNAUTHORIZED"),
  });
  using place = workplace();
  const nobody = await agentbus(["demo", "--url", "http://127.0.0.1:1"], { cwd: place.path });
  expect(nobody.code).toBe(1);
  expect(nobody.out).toMatch(/^FAIL +handshake.connect +expected: .*\n +seen: no socket at/);
}, 60_000);
