import { expect, test } from "bun:test";
import { Watch } from "../../src/plugin/watch.ts";
import { until } from "../support/engine.ts";
import { workplace } from "../support/executable.ts";
import { createLogbook } from "../support/logbook.ts";

test("the watchdog goes by the bounds that there are when a plug-in is loaded", async () => {
  using place = workplace();
  const log = createLogbook();
  const limits = { plugin_block_ms: 60_000, plugin_spin_ms: 120_000 };
  const watch = new Watch({ data_dir: place.path, limits, owns_process: false, log });
  const plugin = { source: "busy.ts", name: "busy", digest: "one" };
  const load = (): Promise<void> => watch.load(plugin, () => Promise.resolve());
  const block = (ms: number): void =>
    watch.within(watch.numberOf(plugin.source), () => {
      for (const began = performance.now(); performance.now() - began < ms;);
    });
  await load();
  block(500);
  // The watchdog has seen that it is over, and has nothing to say.
  await Bun.sleep(300);
  expect(log.lines).toEqual([]);
  limits.plugin_block_ms = 200;
  await load();
  block(1_000);
  await until(() => log.lines.length > 0, "a report");
  expect(log.lines[0]).toMatchObject({ level: "error", fields: { plugin: "busy" } });
  watch.close();
});
