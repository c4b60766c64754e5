import { expect, test } from "bun:test";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, textOf } from "./provider.conformance.ts";
import { done, hello, openAiOptions } from "./provider.support.ts";

test("the model server runs as a process of its own", async () => {
  const file = new URL("../support/model-server.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, file, "--port", "0", "--tokens", "5", "--pace", "2"], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const first = await child.stdout.getReader().read();
  const { url } = JSON.parse(new TextDecoder().decode(first.value)) as { url: string };
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
  const events = await collect(createOpenAiProvider(openAiOptions(url)), hello);
  expect(textOf(events)).toBe("t0 t1 t2 t3 t4");
  expect(events.at(-1)).toEqual(done);
  child.kill();
  await child.exited;
});

test("the model server lists its models and knows no other path", async () => {
  await using model = await startModelServer({ models: ["one", "two"] });
  const list = (await (await fetch(`${model.url()}/models`)).json()) as { data: { id: string }[] };
  expect(list.data.map(({ id }) => id)).toEqual(["one", "two"]);
  expect((await fetch(`${model.url()}/embeddings`)).status).toBe(404);
});

test("the model server keeps the pace of hundreds of streams on one timer", async () => {
  await using model = await startModelServer({ tokens: 10, pace_ms: 20 });
  const provider = createOpenAiProvider(openAiOptions(model.url()));
  const began = performance.now();
  const all = await Promise.all(Array.from({ length: 200 }, () => collect(provider, hello)));
  const took = performance.now() - began;
  expect(new Set(all.map((events) => textOf(events)))).toEqual(new Set(["t0 t1 t2 t3 t4 t5 t6 t7 t8 t9"]));
  expect(took).toBeGreaterThan(190);
  expect(model.requests).toHaveLength(200);
  await model.waitForIdle();
});
