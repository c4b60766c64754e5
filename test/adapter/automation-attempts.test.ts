import { expect, test } from "bun:test";
import { Attempts } from "../../src/automation/attempts.ts";
import { newSigningSecret } from "../../src/automation/signature.ts";
import type { StoredWebhook } from "../../src/automation/stored-webhook.ts";
import { manualClock } from "../support/clock.ts";

test("receivers of one user that do not answer keep nothing back from anybody else's", async () => {
  const secret = newSigningSecret("standard");
  const asked: string[] = [];
  const hang = (url: string): Promise<{ status: number; retry_after: null }> => {
    asked.push(url);
    return url === "quick"
      ? Promise.resolve({ status: 204, retry_after: null })
      : new Promise(() => undefined);
  };
  const attempts = new Attempts(manualClock(), hang, () => [secret]);
  const { signal } = new AbortController();
  const of = (owner: string, id: string, url: string): StoredWebhook =>
    ({ id, owner, url }) as unknown as StoredWebhook;
  for (let i = 0; i < 40; i++) void attempts.try(of("ann", `a${i}`, "slow"), `del_${i}`, "{}", signal);
  expect(await attempts.try(of("bob", "b", "quick"), "del_b", "{}", signal)).toMatchObject({ ok: true });
  expect(asked.filter((url) => url === "slow")).toHaveLength(8);
});
