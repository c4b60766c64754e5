import type { Tool } from "../core/ports.ts";
import type { Running } from "./running.ts";

/** The tools of a plug-in. `usual_ms`: longest call of one that says nothing else. */
export function toolsOf(running: Running, usual_ms: number): Tool[] {
  const { name: plugin, tools = {} } = running.plugin;
  return Object.entries(tools).map(([name, tool]) => {
    const { description, parameters, timeout_ms = usual_ms } = tool;
    return {
      name,
      description,
      parameters,
      source: `plugin:${plugin}`,
      timeout_ms,
      async run(args, { signal, session_id, run_id }) {
        const answer: unknown = await running.call(
          name,
          (context) => tool.run(args, Object.assign(context, { session_id, run_id })),
          { deadline_ms: timeout_ms, signal, may_throw: true },
        );
        if (typeof answer === "string") return answer;
        throw new Error(`${name} answered ${typeof answer} in place of text`);
      },
    };
  });
}
