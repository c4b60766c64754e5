import { expect, test } from "bun:test";
import type { Delivery, Post } from "../../src/automation/attempts.ts";
import { Attempts } from "../../src/automation/attempts.ts";
import { newSigningSecret } from "../../src/automation/signature.ts";
import type { StoredWebhook } from "../../src/automation/stored-webhook.ts";
import { manualClock } from "../support/clock.ts";

const secret = newSigningSecret("standard");
const attemptsBy = (post: Post): Attempts =>
  new Attempts({
    clock: manualClock(),
    post,
    secretsOf: () => [secret],
    tracing: { delivery: () => null },
  });
const of = (owner: string, id: string, url: string): StoredWebhook =>
  ({ id, owner, url }) as unknown as StoredWebhook;
const delivery = (id: string): Delivery => ({ id, body: "{}", type: "app.n" });

test("receivers of one user that do not answer keep nothing back from anybody else's", async () => {
  const asked: string[] = [];
  const hang = (url: string): Promise<{ status: number; retry_after: null }> => {
    asked.push(url);
    return url === "quick"
      ? Promise.resolve({ status: 204, retry_after: null })
      : new Promise(() => undefined);
  };
  const attempts = attemptsBy(hang);
  const { signal } = new AbortController();
  for (let i = 0; i < 40; i++) void attempts.try(of("ann", `a${i}`, "slow"), delivery(`del_${i}`), signal);
  expect(await attempts.try(of("bob", "b", "quick"), delivery("del_b"), signal)).toMatchObject({ ok: true });
  expect(asked.filter((url) => url === "slow")).toHaveLength(8);
});

test("nothing is kept of receivers and users to whom nothing is on its way", async () => {
  const open: (() => void)[] = [];
  const attempts = attemptsBy(
    () => new Promise((resolve) => open.push(() => resolve({ status: 204, retry_after: null }))),
  );
  const { signal } = new AbortController();
  const tries = Array.from({ length: 300 }, (_, i) =>
    attempts.try(of(`user${i % 100}`, `whk_${i % 150}`, "slow"), delivery(`del_${i}`), signal),
  );
  expect(attempts.busy).toBe(100 + 150);
  for (let i = 0; i < 300; i++) {
    while (open.length === 0) await Promise.resolve();
    open.shift()?.();
  }
  expect((await Promise.all(tries)).every(({ ok }) => ok)).toBe(true);
  expect(attempts.busy).toBe(0);
});
