import type { Config } from "./config.ts";
import { Live, viewOf } from "./core/live.ts";
import type { EngineSettings } from "./engine.ts";

/** The configuration that counts now, and as the parts are handed it: an object of sections that read as they are now. */
export interface LiveConfig {
  readonly live: Live<Config>;
  readonly config: Config;
}

/** @param first frozen */
export function liveConfig(first: Config): LiveConfig {
  const live = new Live(first);
  const limits = viewOf(live.derive((config) => config.limits));
  const sections = Object.getOwnPropertyDescriptors(viewOf(live));
  // Whoever keeps the limits has those of now, too.
  const config = Object.create(null, { ...sections, limits: { enumerable: true, value: limits } }) as Config;
  return { live, config: Object.freeze(config) };
}

/** What the configuration says of the domain. */
export function settingsOf({ agent, tools, storage }: Config): EngineSettings {
  const { system_prompt, context_tokens, on_busy, max_concurrent_runs } = agent;
  const { max_turns, max_tool_calls, max_tokens } = agent;
  return {
    system_prompt,
    context_tokens,
    on_busy,
    max_concurrent_runs,
    run_timeout_ms: agent.run_timeout_secs * 1_000,
    budget: { max_turns, max_tool_calls, max_tokens },
    approval_timeout_ms: tools.approval_timeout_secs * 1_000,
    unattended: tools.unattended,
    event_grace_ms: storage.event_grace_secs * 1_000,
    storage_stall_ms: storage.storage_stall_secs * 1_000,
  };
}
