import { isIP } from "node:net";
import { LOG_COMPONENTS } from "../core/log-components.ts";
import { DEFAULT_LIMITS, assertLimits } from "../core/limits.ts";
import type { Limits } from "../core/limits.ts";
import { parseAddress } from "./address.ts";
import type { Where } from "./auth.ts";
import { checkAuth } from "./auth.ts";
import { checkCosts } from "./costs.ts";
import { checkToolServers } from "./mcp.ts";
import { checkStorage } from "./storage.ts";
import { checkTls } from "./tls.ts";
import { ConfigError } from "./error.ts";
import type { Config } from "./schema.ts";

const LEVELS = ["debug", "info", "warn", "error", "silent"];

/**
 * What one option alone cannot say. Returns warnings.
 * @throws ConfigError
 */
export function checkRules(config: Config, where: Where): string[] {
  const { server, gateway, agent, storage, llm } = config;
  const bind = gateway.bind === "" ? null : parseAddress(gateway.bind);
  if (gateway.bind !== "" && bind === null) {
    throw new ConfigError(
      `${where("gateway.bind")}: "${gateway.bind}" is no address: write host:port, like 127.0.0.1:18790`,
    );
  }
  if (/[/\s]/.test(server.host) || (server.host.includes(":") && isIP(server.host) !== 6)) {
    throw new ConfigError(
      `${where("server.host")}: "${server.host}" is no host: write a name or an address alone, the port is server.port`,
    );
  }
  const bytes = Buffer.byteLength(agent.system_prompt);
  if (bytes > config.limits.system_prompt_bytes) {
    throw new ConfigError(
      `${where("agent.system_prompt")}: it has ${bytes} bytes, limits.system_prompt_bytes allows ` +
        `${config.limits.system_prompt_bytes}: shorten it or raise the limit`,
    );
  }
  for (const [name, provider] of Object.entries(llm.providers)) {
    if (provider.base_url !== "") continue;
    const path = `llm.providers.${name}.base_url`;
    throw new ConfigError(
      `${where(path)}: it is missing: say where the API is, like http://127.0.0.1:11434/v1`,
    );
  }
  if (storage.url !== "" && config.backup.directory !== "") {
    throw new ConfigError(
      `${where("backup.directory")}: what storage.url names is not in a file of this gateway: back it up with its own tools`,
    );
  }
  checkToolServers(config.mcp.servers, where);
  checkLevels(config.log.levels, where("log.levels"));
  const costs = checkCosts(config, where);
  const hosts = [server.host, ...(bind === null ? [] : [bind.host])];
  const warnings = [
    ...checkAuth(config, bind?.host ?? null, where),
    ...checkTls(server, hosts, where),
    ...checkStorage(storage, where),
    ...costs,
  ];
  if (gateway.heartbeat_interval_secs >= gateway.connection_timeout_secs) {
    warnings.push(
      `${where("gateway.heartbeat_interval_secs")}: not shorter than gateway.connection_timeout_secs ` +
        `(${gateway.connection_timeout_secs}): quiet connections are closed before a heartbeat keeps them`,
    );
  }
  return warnings;
}

/** @throws ConfigError */
function checkLevels(levels: Config["log"]["levels"], where: string): void {
  const known: readonly string[] = LOG_COMPONENTS;
  for (const [component, level] of Object.entries(levels)) {
    if (!known.includes(component)) {
      throw new ConfigError(
        `${where}: "${component.slice(0, 60)}" does not log by itself: use ${known.join(", ")}`,
      );
    }
    if (LEVELS.includes(level)) continue;
    throw new ConfigError(
      `${where}: "${level.slice(0, 60)}" is no level for ${component}: use ${LEVELS.join(", ")}`,
    );
  }
}

/** All limits: what the section says over the defaults. `max_connections` is an option of the gateway. */
export function limitsOf(section: Partial<Limits>, max_connections: number): Limits {
  const limits = { ...DEFAULT_LIMITS, ...section, max_connections };
  // Else they could keep out everybody who is known.
  const max_unauthenticated = Math.min(limits.max_unauthenticated, Math.ceil(max_connections / 2));
  try {
    return assertLimits({ ...limits, max_unauthenticated });
  } catch (cause) {
    throw new ConfigError((cause as Error).message, { cause });
  }
}
