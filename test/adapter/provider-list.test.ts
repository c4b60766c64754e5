import { expect, test } from "bun:test";
import { GatewayError } from "../../src/protocol/errors.ts";
import { createProviderList } from "../../src/provider/list.ts";
import { createRouter } from "../../src/provider/router.ts";
import { createLogbook } from "../support/logbook.ts";
import { collect, errorOf, requestOf, textOf } from "./provider.conformance.ts";
import { boundsOf, fails, scripted, text } from "./provider.scripted.ts";
import { done, instantClock } from "./provider.support.ts";

function routed(default_model = "a/one", fallback: string[] = ["late/x"]) {
  const a = scripted("a", [], [fails("down")]);
  const list = createProviderList(() => [a]);
  const router = createRouter({
    providers: () => list.all(),
    default_provider: default_model.split("/")[0] ?? "",
    default_model: () => default_model,
    fallback,
    bounds: () => boundsOf({ max_retries: 0 }),
    retry_deadline_ms: 0,
    clock: instantClock(),
    log: createLogbook(),
  });
  return { list, router };
}

test("a provider that is added is used by the next call, and one that was taken out is not", async () => {
  const { list, router } = routed();
  const late = scripted("late", ["x"], [text("hi"), done]);
  const remove = list.add(late);
  expect(textOf(await collect(router, requestOf("a/one", "hi")))).toBe("hi");
  expect(router.models()).toEqual([
    { id: "late/x", provider: "late" },
    { id: "a/one", provider: "a" },
  ]);
  expect(router.states().map(({ name }) => name)).toEqual(["a", "late"]);
  expect(() => router.resolve("late/y")).toThrow("choose one of late/x");

  remove();
  remove();
  expect(router.states().map(({ name }) => name)).toEqual(["a"]);
  // Its name is no prefix any more.
  expect(router.resolve("late/x")).toBe("a/late/x");
  expect(errorOf(await collect(router, requestOf("a/one", "hi"))).message).toStartWith("down");
  expect(late.asked).toHaveLength(1);
  list.add(scripted("late", [], [text("again"), done]));
  expect(textOf(await collect(router, requestOf("late/x", "hi")))).toBe("again");
});

test("without the provider of the default there is an error that says so, and no crash", async () => {
  const { list, router } = routed("late/x", []);
  expect(() => router.check()).toThrow('llm.default_provider is "late", which is not configured');
  expect(router.default_model).toBe("late/x");
  expect(router.models()).toEqual([]);
  let thrown: unknown;
  try {
    router.resolve(null);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(GatewayError);
  expect((thrown as GatewayError).reason).toBe("UNAVAILABLE");
  expect(errorOf(await collect(router, requestOf("x", "hi"))).reason).toBe("UNAVAILABLE");
  list.add(scripted("late", [], [text("hi"), done]));
  router.check();
  expect(router.default_model).toBe("late/x");
});

test("a name that is taken or is none is refused", () => {
  const { list } = routed();
  expect(() => list.add(scripted("a", []))).toThrow('there is a provider "a" already');
  for (const name of ["", "a/b", "a b", "ä", "x".repeat(65)]) {
    expect(() => list.add(scripted(name, []))).toThrow("is no name for a provider");
  }
});
