import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { createLogbook } from "../support/logbook.ts";
import type { Script } from "../support/model-script.ts";
import { script } from "../support/model-script.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf, textOf } from "./provider.conformance.ts";
import { hello, openAiOptions } from "./provider.support.ts";

type Reply = (reply: Script) => Script;
const limited: Reply = (reply) => reply.status(429, { retryAfter: 20 });
const MINUTE_MS = 60_000;

/** A provider with keys one, two and three, and a server that answers each as it is told. */
async function scene(answers: Record<string, Reply>) {
  const model = await startModelServer();
  model.otherwise(({ headers }) => (answers[keyOf(headers)] ?? ((reply) => reply.text("hi")))(script()));
  const log = createLogbook();
  const time = { now: 0 };
  const clock = { ...systemClock, monotonic: () => time.now };
  const api_keys = ["sk-one", "sk-two", "sk-three"];
  const provider = createOpenAiProvider(openAiOptions(model.url(), { api_keys, log, clock }));
  let seen = 0;
  return {
    model,
    log,
    time,
    answers,
    ask: () => collect(provider, hello),
    /** The keys of the calls since it was asked last. */
    used: (): string[] => {
      const keys = model.requests.slice(seen).map(({ headers }) => keyOf(headers));
      seen = model.requests.length;
      return keys;
    },
    told: (): [string, string][] =>
      log.lines.flatMap(({ level, message }) => (level === "debug" ? [] : [[level, message]])),
    [Symbol.asyncDispose]: () => model[Symbol.asyncDispose](),
  };
}

function keyOf(headers: ModelServer["requests"][number]["headers"]): string {
  return headers["authorization"]?.replace("Bearer sk-", "") ?? "none";
}

describe("a key that is limited", () => {
  test("gives way to the next one at once, and is passed over for as long as the server said", async () => {
    await using it = await scene({ one: limited });
    expect(textOf(await it.ask())).toBe("hi");
    expect(it.used()).toEqual(["one", "two"]);
    for (let i = 0; i < 3; i++) await it.ask();
    expect(it.used()).toEqual(["three", "two", "three"]);
    it.answers["one"] = (reply) => reply.text("back");
    it.time.now = 19_999;
    for (let i = 0; i < 3; i++) await it.ask();
    expect(it.used()).not.toContain("one");
    it.time.now = 20_000;
    for (let i = 0; i < 3; i++) await it.ask();
    expect(it.used().toSorted()).toEqual(["one", "three", "two"]);
    // It happens all day.
    expect(it.told()).toEqual([]);
  });

  test("is one of all that are: the error says when to come back, each was tried once, then only the next that is free", async () => {
    await using it = await scene({
      one: limited,
      two: limited,
      three: (reply) => reply.status(429, { retryAfter: 3 }),
    });
    expect(errorOf(await it.ask())).toMatchObject({
      message: "test is limiting requests (429): answered 429",
      retry_after_ms: 3_000,
      retryable: true,
    });
    expect(it.used()).toEqual(["one", "two", "three"]);
    expect(errorOf(await it.ask()).retryable).toBe(true);
    expect(it.used()).toEqual(["three"]);
  });

  test("is never kept out for longer than ten minutes, and for some seconds where nobody says how long", async () => {
    await using it = await scene({
      one: (reply) => reply.status(429, { retryAfter: 86_400 }),
      two: (reply) => reply.status(429),
    });
    await it.ask();
    expect(it.used()).toEqual(["one", "two", "three"]);
    it.time.now = 5_000;
    for (let i = 0; i < 2; i++) await it.ask();
    expect(it.used()).toEqual(["two", "three", "three"]);
    it.time.now = 10 * MINUTE_MS;
    await it.ask();
    expect(it.used()).toContain("one");
  });
});

describe("a key that is refused", () => {
  test.each([
    ["with 401", (reply) => reply.status(401), "is refused (401)"],
    ["with 403", (reply) => reply.status(403), "is refused (403)"],
    ["for lack of money", (reply) => reply.status(402), "has nothing left"],
    [
      "for a quota that is used up",
      (reply) =>
        reply.status(429, {
          body: JSON.stringify({ error: { message: "pay", code: "insufficient_quota" } }),
        }),
      "has nothing left",
    ],
  ] as [string, Reply, string][])("%s gives way too, and that is said once", async (_, reply, why) => {
    await using it = await scene({ two: reply });
    for (let i = 0; i < 4; i++) expect(textOf(await it.ask())).toBe("hi");
    expect(it.used()).toEqual(["one", "two", "three", "one", "three"]);
    const line: [string, string] = ["warn", `key 2 of 3 of provider test ${why}; the others are used`];
    expect(it.told()).toEqual([line]);
    it.time.now += 11 * MINUTE_MS;
    for (let i = 0; i < 3; i++) await it.ask();
    expect(it.used()).toContain("two");
    expect(it.told()).toEqual([line]);
    it.time.now += 11 * MINUTE_MS;
    it.answers["two"] = (say) => say.text("hi");
    for (let i = 0; i < 3; i++) await it.ask();
    expect(it.told()).toEqual([line, ["info", "key 2 of 3 of provider test works again"]]);
    expect(JSON.stringify(it.log.lines)).not.toContain("sk-");
  });

  test("is the error where all of them are", async () => {
    const no: Reply = (reply) => reply.status(401);
    await using it = await scene({ one: no, two: no, three: no });
    expect(errorOf(await it.ask()).message).toStartWith("test refused the API key (401)");
    expect(it.used()).toHaveLength(3);
    // Somebody may have mended it.
    await it.ask();
    expect(it.used()).toHaveLength(1);
  });
});

test("what is not the key's fault is not tried with another", async () => {
  for (const reply of [
    (each) => each.status(500),
    (each) => each.status(404),
    (each) => each.wait(10).reset(),
  ] as Reply[]) {
    await using it = await scene({ one: reply });
    errorOf(await it.ask());
    expect(it.used()).toEqual(["one"]);
  }
});
