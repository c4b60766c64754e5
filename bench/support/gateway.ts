import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Child } from "./process.ts";
import { startChild } from "./process.ts";

export interface GatewayProcess extends Child {
  /** http://127.0.0.1:PORT */
  readonly url: string;
  readonly socketUrl: string;
  readonly token: string;
  readonly data_dir: string;
}

/** The environment of this process without what would configure a gateway or change how it runs. */
export function cleanEnvironment(): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value === undefined || name.startsWith("AGENTBUS_") || name.startsWith("BUN_")) continue;
    kept[name] = value;
  }
  return kept;
}

/** Resolves when it listens. */
export async function startGateway(options: {
  readonly command: readonly string[];
  readonly data_dir: string;
  readonly model: string;
  readonly env: Readonly<Record<string, string>>;
}): Promise<GatewayProcess> {
  const { command, data_dir, model, env } = options;
  const child = startChild([...command, "serve"], {
    cwd: data_dir,
    env: {
      ...cleanEnvironment(),
      AGENTBUS_SERVER_PORT: "0",
      AGENTBUS_SERVER_DATA_DIR: data_dir,
      AGENTBUS_SERVER_SHUTDOWN_GRACE_SECS: "0",
      // What a bench needs is made as fast as it can be.
      AGENTBUS_LIMITS_MUTATIONS_PER_SECOND: "1000000",
      AGENTBUS_LIMITS_MUTATIONS_BURST: "1000000",
      AGENTBUS_LLM_PROVIDERS_TEST_BASE_URL: model,
      AGENTBUS_LLM_DEFAULT_PROVIDER: "test",
      AGENTBUS_LLM_DEFAULT_MODEL: "fake",
      ...env,
    },
  });
  const { url } = await child.line("url");
  const token = readFileSync(join(data_dir, "token"), "utf8").trim();
  const socketUrl = `${String(url).replace(/^http/, "ws")}/ws`;
  return { ...child, url: String(url), socketUrl, token, data_dir };
}
