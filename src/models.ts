import { configured } from "./config/error.ts";
import type { Clock, Logger, ModelRouter } from "./core/ports.ts";
import { hasPlugins } from "./plugins.ts";
import type { ProvidersConfig } from "./provider/from-config.ts";
import { createProviders } from "./provider/from-config.ts";
import { createProviderList } from "./provider/list.ts";
import type { LiveConfig } from "./settings.ts";

/** Who is asked for answers; `router`: that, and nobody else. @throws ConfigError */
export function modelsOf({ live, config }: LiveConfig, clock: Clock, log: Logger, router?: ModelRouter) {
  if (router !== undefined) return { router, providers: createProviderList(() => []) };
  const said = live.derive<ProvidersConfig>(({ llm, limits }) => ({
    llm,
    max_message_bytes: limits.assistant_bytes,
  }));
  return configured(() => createProviders(said, { clock, log, mayCome: () => hasPlugins(config) }));
}
