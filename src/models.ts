import type { Config } from "./config.ts";
import { configured } from "./config/error.ts";
import type { Clock, Logger, ModelRouter } from "./core/ports.ts";
import { hasPlugins } from "./plugins.ts";
import { createProviders } from "./provider/from-config.ts";
import { createProviderList } from "./provider/list.ts";

/** Who is asked for answers; `router`: that, and nobody else. @throws ConfigError */
export function modelsOf(config: Config, clock: Clock, log: Logger, router?: ModelRouter) {
  if (router !== undefined) return { router, providers: createProviderList([]) };
  const max_message_bytes = config.limits.assistant_bytes;
  return configured(() =>
    createProviders(config.llm, { clock, log, max_message_bytes, mayCome: hasPlugins(config) }),
  );
}
