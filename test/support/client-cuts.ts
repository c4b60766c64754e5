import { startBrowser } from "./browser.ts";
import type { Drive, Driven } from "./client-driver.ts";
import type { Runtime } from "./client-runtimes.ts";
import { bundleDriver, driveIn } from "./client-runtimes.ts";
import type { Cut } from "./cut-proxy.ts";
import { randomCut, startCutProxy } from "./cut-proxy.ts";
import { seeded } from "./random.ts";

const WITHIN = { up: 1_500, down: 15_000 };

/** A gateway that is asked through proxies which cut, by clients in any runtime. */
export interface Cuts extends AsyncDisposable {
  /** For `server.allowed_origins`: it is reached under all of these. */
  readonly origins: readonly string[];
  /** Drives a client in a runtime, or in a page, through so many cuts; at most `stalls` of them are lines that fall silent. */
  run(
    where: Runtime | "chromium",
    cuts: number,
    options?: { readonly stalls?: number; readonly transport?: Drive["transport"] },
  ): Promise<Driven>;
}

export interface CutsOptions {
  readonly seed: number;
  readonly sessions: number;
  /** The gateway, once it is there. */
  readonly gateway: () => { readonly address: string; readonly token: string };
}

export function openCuts({ seed, sessions, gateway }: CutsOptions): Cuts {
  const random = seeded(seed);
  const left = { cuts: 0, stalls: 0 };
  let runs = 0;
  const next = (): Cut | null => {
    if (left.cuts-- <= 0) return null;
    const cut = randomCut(random, WITHIN);
    // It takes seconds to be sure of a line that fell silent.
    return cut.kind === "stall" && left.stalls-- <= 0 ? { ...cut, kind: "reset" } : cut;
  };
  const proxies = Array.from({ length: sessions }, () =>
    startCutProxy({ target: () => gateway().address, plan: next }),
  );
  const urls = proxies.map(({ address }) => `http://${address}`);
  const control = serveControl(() => left.cuts > 0);
  return {
    origins: [control.origin, ...urls],
    async run(where, cuts, { stalls = Number.POSITIVE_INFINITY, transport = "auto" } = {}) {
      left.cuts = cuts;
      left.stalls = stalls;
      const options: Drive = {
        urls,
        token: gateway().token,
        more: `${control.origin}/more`,
        prefix: `cuts-${++runs}`,
        words: 120,
        transport,
      };
      const patience_ms = 100_000 + cuts * 2_000;
      const driven =
        where === "chromium"
          ? await driveInPage(control.origin, options, patience_ms)
          : await driveIn(where, options);
      if (left.cuts > 0) throw new Error(`${left.cuts} cuts were left`);
      return driven;
    },
    async [Symbol.asyncDispose]() {
      for (const proxy of proxies) proxy.stop();
      await control.stop();
    },
  };
}

/** Tells drivers whether there is something left to cut, and is the page. */
function serveControl(more: () => boolean): { origin: string; stop(): Promise<void> } {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    routes: {
      "/more": () => new Response(String(more()), { headers: { "access-control-allow-origin": "*" } }),
      "/": new Response('<!doctype html><script type="module" src="/drive.js"></script>', {
        headers: { "content-type": "text/html" },
      }),
      "/drive.js": async () =>
        new Response(await bundleDriver("window.drive = drive;"), {
          headers: { "content-type": "text/javascript" },
        }),
    },
  });
  return { origin: `http://127.0.0.1:${server.port}`, stop: () => server.stop(true) };
}

async function driveInPage(origin: string, options: Drive, patience_ms: number): Promise<Driven> {
  await using browser = await startBrowser();
  const page = await browser.newPage();
  await page.open(`${origin}/`);
  await page.until("typeof window.drive === 'function'");
  const told =
    "(driven) => (window.driven = driven), (error) => (window.driven = { wrong: [String(error)] })";
  await page.until(`(window.drive(${JSON.stringify(options)}).then(${told}), true)`);
  return (await page.until("window.driven", patience_ms)) as Driven;
}
