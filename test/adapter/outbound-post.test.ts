import { expect, test } from "bun:test";
import { addressMatcher } from "../../src/auth/address.ts";
import { createReach } from "../../src/tool/fetch-reach.ts";
import { createPoster } from "../../src/tool/outbound-post.ts";

test("a name that is never resolved is given up with the request", async () => {
  const asked = Promise.withResolvers<void>();
  const resolve = (): Promise<string[]> => {
    asked.resolve();
    return new Promise(() => undefined);
  };
  const poster = createPoster({ reach: createReach([], addressMatcher, "webhooks.allow"), resolve });
  const late = new AbortController();
  const posted = poster.post("https://slow.example/", {}, "{}", late.signal);
  await asked.promise;
  late.abort();
  expect(await posted).toEqual({ status: null, reason: "no answer in time" });
});
