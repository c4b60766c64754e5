import type { Limits } from "../core/limits.ts";
import type {
  Clock,
  ListedTool,
  Logger,
  Tool,
  Toolbox,
  ToolContext,
  ToolOutcome,
  ToolSource,
  ToolSpec,
} from "../core/ports.ts";
import { cutUtf8, lengthUtf8, wellFormed } from "../core/text.ts";
import { createReadArguments } from "./arguments.ts";
import type { DecidePolicy } from "./policy.ts";

export interface ToolboxOptions {
  readonly sources: readonly ToolSource[];
  readonly policy: DecidePolicy;
  readonly timeout_ms: number;
  readonly limits: Pick<Limits, "tool_result_bytes">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The tools of every source under their names; of two with one name the first counts. */
export function createToolbox(options: ToolboxOptions): Toolbox {
  const { sources, policy, log } = options;
  const read = createReadArguments();
  const all = (): Map<string, Tool> => {
    const tools = new Map<string, Tool>();
    for (const tool of sources.flatMap((source) => source.tools())) {
      if (!tools.has(tool.name)) tools.set(tool.name, tool);
    }
    return tools;
  };

  return {
    // Of tools that nobody may call nothing is said.
    prompt: () =>
      sources
        .filter((source) => source.tools().some(({ name }) => policy(name) !== "deny"))
        .map((source) => source.prompt?.() ?? "")
        .filter((text) => text !== "")
        .join("\n\n"),
    specs: () => [...all().values()].filter(({ name }) => policy(name) !== "deny").map(specOf),
    rule(call, granted) {
      const tool = all().get(call.name);
      if (tool === undefined)
        return { kind: "refuse", content: `there is no tool ${call.name.slice(0, 129)}` };
      const decided = policy(tool.name);
      if (decided === "deny") return { kind: "refuse", content: `${tool.name} is not allowed here` };
      const given = read(call, tool);
      if (!given.ok) return { kind: "refuse", content: given.why };
      const allowed = decided === "allow" || granted.has(tool.name);
      return { kind: allowed ? "allow" : "ask", args: given.args };
    },
    async call(call, args, context) {
      const tool = all().get(call.name);
      if (tool === undefined) return { ok: false, content: `${call.name} is not there any more` };
      const outcome = await attempt(options, tool, args, context);
      const { run_id } = context;
      log.debug(
        { run_id, tool: tool.name, ok: outcome.ok, bytes: outcome.content.length },
        "a tool answered",
      );
      return outcome;
    },
    list: () => ({
      tools: [...all().values()].map((tool): ListedTool => {
        return { ...specOf(tool), source: tool.source, policy: policy(tool.name) };
      }),
      servers: sources.flatMap((source) => source.states?.() ?? []),
    }),
  };
}

function specOf({ name, description, parameters }: Tool): ToolSpec {
  return { name, description, parameters };
}

/** One call within its time; what it does not answer until then is not waited for. */
async function attempt(
  { clock, timeout_ms, limits }: ToolboxOptions,
  tool: Tool,
  args: Readonly<Record<string, unknown>>,
  context: ToolContext,
): Promise<ToolOutcome> {
  const over = new AbortController();
  const late = tool.timeout_ms ?? timeout_ms;
  const stopped = Promise.withResolvers<string>();
  const cancel = clock.after(late, () =>
    stopped.reject(new Error(`${tool.name} took longer than ${late} ms`)),
  );
  const stop = (): void => stopped.reject(new Error("stopped: the run ended"));
  if (context.signal.aborted) stop();
  context.signal.addEventListener("abort", stop, { once: true });
  try {
    const running = tool.run(args, { ...context, signal: over.signal });
    // What it still says after it was given up concerns nobody.
    running.catch(() => undefined);
    return told(true, await Promise.race([running, stopped.promise]), limits.tool_result_bytes);
  } catch (error) {
    return told(false, error instanceof Error ? error.message : String(error), limits.tool_result_bytes);
  } finally {
    cancel();
    context.signal.removeEventListener("abort", stop);
    over.abort();
  }
}

/** What a model is told, cut where it is too long. */
function told(ok: boolean, text: string, max_bytes: number): ToolOutcome {
  const content = wellFormed(text);
  if (lengthUtf8(content) <= max_bytes) return { ok, content };
  return { ok, content: cutUtf8(content, max_bytes), truncated: true };
}
