import { expect, test } from "bun:test";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { GatewayError } from "../../src/protocol/errors.ts";
import { Channel } from "../../src/store/sqlite/channel.ts";
import { failure, storeClock } from "./store.builders.ts";
import { temporaryDirectory } from "./store.sqlite.ts";

const WORKER = `
self.onmessage = ({ data }) => {
  if (data === "echo") self.postMessage({ ok: true, value: data });
  if (data === "refuse") self.postMessage({ ok: false, fault: { message: "SQLITE_FULL", refused: "full", details: null } });
  if (data === "lose") self.postMessage({ lost: "the disk went away" });
  if (data === "throw") throw new Error("a bug");
  if (data === "exit") process.exit(3);
};
`;

async function channel(silence_ms = 20_000) {
  const directory = await temporaryDirectory();
  const path = join(directory.path, "worker.ts");
  await Bun.write(path, WORKER);
  const lost: string[] = [];
  const made = new Channel<string>({
    url: pathToFileURL(path),
    clock: storeClock(),
    silence_ms,
    onLost: (reason) => lost.push(reason),
  });
  return {
    lost,
    ask: (request: string) => made.ask<string>(request),
    close: () => made.close(),
    async [Symbol.asyncDispose]() {
      made.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

test("answers in order, also after a refusal", async () => {
  await using fixture = await channel();
  const [first, refused, third] = await Promise.all([
    fixture.ask("echo"),
    failure(fixture.ask("refuse")),
    fixture.ask("echo"),
  ]);
  expect([first, third]).toEqual(["echo", "echo"]);
  expect(refused).toBeInstanceOf(GatewayError);
  expect(refused).toMatchObject({
    message: "storage refuses writes: full",
    details: { kind: "storage", refused: "full" },
  });
  expect(fixture.lost).toEqual([]);
});

for (const [request, reason] of [
  ["lose", "the disk went away"],
  ["throw", "a bug"],
  ["exit", "the worker ended"],
  ["silence", "no answer for 200 ms"],
] as const) {
  test(`a worker that is asked to ${request} is lost, once and for good`, async () => {
    await using fixture = await channel(request === "silence" ? 200 : undefined);
    expect(await fixture.ask("echo")).toBe("echo");
    const told: number[] = [];
    const waiting = [request, request].map(async (one) => {
      const error = await failure(fixture.ask(one));
      told.push(fixture.lost.length);
      return error.message;
    });
    for (const message of await Promise.all(waiting)) expect(message).toContain(reason);
    expect(told).toEqual([1, 1]);
    expect((await failure(fixture.ask("echo"))).message).toContain(reason);
    expect(fixture.lost).toHaveLength(1);
  });
}

test("closing rejects what waits and is no loss", async () => {
  await using fixture = await channel();
  await fixture.ask("echo");
  const waiting = failure(fixture.ask("silence"));
  fixture.close();
  fixture.close();
  expect((await waiting).message).toBe("the store is closed");
  expect((await failure(fixture.ask("echo"))).message).toBe("the store is closed");
  expect(fixture.lost).toEqual([]);
});
