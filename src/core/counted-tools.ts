import type { Measures } from "./measures.ts";
import type { Clock, Toolbox } from "./ports.ts";
import type { Stats } from "./stats.ts";

/** The toolbox, its calls counted by how they ended, and timed. */
export function countTools(
  toolbox: Toolbox,
  clock: Pick<Clock, "monotonic">,
  { tools: counts }: Pick<Stats, "tools">,
  { tools: spent }: Pick<Measures, "tools">,
): Toolbox {
  return {
    ...toolbox,
    async call(call, args, context) {
      const began = clock.monotonic();
      const outcome = await toolbox.call(call, args, context);
      spent.observe((clock.monotonic() - began) / 1_000);
      counts[outcome.ok ? "ok" : "failed"]++;
      return outcome;
    },
  };
}
