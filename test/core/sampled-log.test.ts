import { expect, test } from "bun:test";
import { SampledLog } from "../../src/core/sampled-log.ts";
import { Stats } from "../../src/core/stats.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { manualClock } from "../support/clock.ts";
import { createLogbook } from "../support/logbook.ts";

test("a limit is counted every time and logged once in a while, each by itself, with the number left unsaid", () => {
  const clock = manualClock();
  const log = createLogbook();
  const stats = new Stats(new SampledLog(clock, log));
  const limit = { what: "in_flight", limit: 16 };
  const error = new GatewayError("RATE_LIMITED", "too many", { limit });
  for (let i = 0; i < 1_000; i++) stats.request(error, { user: "bea", remote: "10.0.0.1" }, "ws");
  stats.limit("body_bytes", {});
  clock.advance(9_999);
  stats.error(error, {});
  clock.advance(1);
  stats.error(error, { user: undefined, remote: "10.0.0.2" });
  stats.request(new GatewayError("NOT_FOUND", "no"), {}, "rest");
  stats.request(null, {}, "rest");
  expect(stats.limits).toEqual({ in_flight: 1_002, body_bytes: 1 });
  expect(stats.errors).toEqual({ RATE_LIMITED: 1_002, NOT_FOUND: 1 });
  expect(stats.requests_total).toBe(1_002);
  expect(stats.requests).toEqual({ ws: 1_000, rest: 2, sse: 0, local: 0 });
  expect(log.lines.map(({ fields, message }) => ({ ...fields, message }))).toMatchObject([
    { limit: "in_flight", user: "bea", remote: "10.0.0.1", message: "a limit was reached" },
    { limit: "body_bytes" },
    { limit: "in_flight", remote: "10.0.0.2", unsaid: 1_000 },
  ]);
});
