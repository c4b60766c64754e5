import type { Browser, CDPSession, Page } from "playwright-core";
import { fillSession } from "../test/console/long.fixture.ts";
import { startChromium, visitIn } from "../test/console/visitor.ts";
import type { Bench, Figure } from "./support/bench.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { order } from "./support/model.ts";
import { quantiles, round, spread, withRange } from "./support/numbers.ts";

const MESSAGES = 2_000;
const TOKENS_PER_SEC = 100;
const FRAME_MS = 1_000 / 60;
const MOST_KB = 500;
const MOST_PAINT_MS = 1_000;
/** Of one answer, so that a long measurement is many of them. */
const ANSWER_SECS = 60;

/** What the page costs: to load, and while an answer is written into a long session. */
export async function console_page(bench: Bench): Promise<Figure[]> {
  await using model = await bench.model();
  await using gateway = await bench.gateway({ model: model.url });
  const browser = await startChromium();
  try {
    return [...(await loading(bench, gateway, browser)), ...(await streaming(bench, gateway, browser))];
  } finally {
    await browser.close();
  }
}

/** Every time in a browser that has nothing of it yet. */
async function loading(bench: Bench, gateway: GatewayProcess, browser: Browser): Promise<Figure[]> {
  const [paints, usable]: [number[], number[]] = [[], []];
  let bytes = 0;
  for (let i = 0; i < bench.pick(10, 3); i++) {
    await using visitor = await visitIn(browser, gateway);
    const { page } = visitor;
    await page.locator("#message").waitFor();
    const loaded = await page.evaluate(() => ({
      paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Number.NaN,
      now: performance.now(),
      bytes: [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
        .map((entry) => (entry as PerformanceResourceTiming).encodedBodySize)
        .reduce((sum, each) => sum + each, 0),
    }));
    paints.push(loaded.paint);
    usable.push(loaded.now);
    bytes = loaded.bytes;
  }
  const paint = spread(paints);
  return [
    {
      what: "the page: compressed, as it is loaded by who signs in",
      figure: `${Math.round(bytes / 1_000)} KB`,
      aim: `≤ ${MOST_KB} KB`,
      held: bytes <= MOST_KB * 1_000,
    },
    {
      what: "the page: first paint, nothing of it kept",
      figure: withRange(paint, " ms"),
      against: `until one can write ${withRange(spread(usable), " ms")}`,
      aim: "< 1 s",
      held: paint.median < MOST_PAINT_MS,
    },
  ];
}

async function streaming(bench: Bench, gateway: GatewayProcess, browser: Browser): Promise<Figure[]> {
  await fillSession(gateway, "long", MESSAGES);
  await using visitor = await visitIn(browser, gateway, { at: `${gateway.url}/#/session/long` });
  const { page } = visitor;
  await page.getByText(`Message number ${MESSAGES - 1}.`).waitFor();
  const devtools = await page.context().newCDPSession(page);
  const before = await heapOf(devtools);
  const secs = bench.minutes === null ? bench.pick(30, 5) : bench.minutes * 60;
  const frames: number[] = [];
  for (let left = secs; left > 0; left -= ANSWER_SECS) {
    frames.push(...(await framesOf(page, Math.min(left, ANSWER_SECS))));
    if (bench.minutes !== null) bench.say(`${left} s left, heap ${round(await heapOf(devtools))} MB`);
  }
  const after = await heapOf(devtools);
  const dropped = frames.reduce((sum, frame) => sum + Math.max(0, Math.round(frame / FRAME_MS) - 1), 0);
  const { p99, max } = quantiles(frames);
  const what = `${TOKENS_PER_SEC} tokens a second into a session of ${MESSAGES} messages, ${secs} s`;
  return [
    {
      what: `${what}: frames dropped`,
      figure: `${dropped} of ${frames.length + dropped}`,
      against: `a frame p99 ${round(p99)} ms, most ${round(max)} ms`,
    },
    {
      what: `${what}: heap of the page after`,
      figure: `${round(after)} MB`,
      against: `before ${round(before)} MB`,
      data: { before, after, secs },
    },
  ];
}

/** How long each frame took while an answer was written. */
async function framesOf(page: Page, secs: number): Promise<number[]> {
  const tokens = secs * TOKENS_PER_SEC;
  await page.locator("#message").fill(order({ tokens, pace_ms: 1_000 / TOKENS_PER_SEC }));
  await page.keyboard.press("Enter");
  await page.locator(".message.streaming").waitFor();
  const frames = await page.evaluate(
    () =>
      new Promise<number[]>((resolve) => {
        const took: number[] = [];
        let last = performance.now();
        const frame = (now: number): void => {
          took.push(now - last);
          last = now;
          if (document.querySelector(".message.streaming") === null) resolve(took.slice(1));
          else requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
      }),
  );
  await page.locator(".busy").waitFor({ state: "detached" });
  return frames;
}

/** Megabytes that are in use, once nothing is left to be collected. */
async function heapOf(devtools: CDPSession): Promise<number> {
  await devtools.send("HeapProfiler.collectGarbage");
  const { usedSize } = await devtools.send("Runtime.getHeapUsage");
  return usedSize / 1_000_000;
}
