import type { LoadedConfig } from "../config.ts";
import { loadConfig } from "../config.ts";
import type { Input, OptionSpecs } from "./args.ts";
import type { Io } from "./io.ts";

export type { Config } from "../config.ts";

/** Flags that stand for options of the configuration, and which. */
const FLAGS = {
  host: "server.host",
  port: "server.port",
  "data-dir": "server.data_dir",
} as const;

/** Flags of every command that reads the configuration. */
export const CONFIG_OPTIONS: OptionSpecs = {
  config: {
    value: "FILE",
    summary: "default: AGENTBUS_CONFIG, agentbus.toml here; for root the service",
  },
  host: { value: "HOST", summary: "server.host" },
  port: { value: "PORT", summary: "server.port; 0 picks a free one" },
  "data-dir": { value: "DIR", summary: "server.data_dir" },
};

/** The configuration as file, environment and flags make it. @throws ConfigError */
export function readConfig(input: Input, io: Io): LoadedConfig {
  const file = input.text("config");
  const flags: Record<string, string> = {};
  for (const [flag, path] of Object.entries(FLAGS)) {
    const value = input.text(flag);
    if (value !== undefined) flags[path] = value;
  }
  return loadConfig({ file, env: io.env, flags, cwd: io.cwd });
}
