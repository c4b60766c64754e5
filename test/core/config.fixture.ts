import { expect } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LoadOptions, LoadedConfig } from "../../src/config.ts";
import { loadConfig } from "../../src/config.ts";
import { ConfigError } from "../../src/config/error.ts";

export const HOME = "/home/ada";

export type Given = Partial<LoadOptions> & { toml?: string; files?: Record<string, string> };

/** Loads what is given in a directory of its own, which is gone afterwards. `toml` is the text of agentbus.toml. */
export function load({ toml, files = {}, env = {}, ...options }: Given = {}): LoadedConfig & { cwd: string } {
  const cwd = mkdtempSync(join(tmpdir(), "agentbus-cwd-"));
  const all = { ...files, ...(toml !== undefined && { "agentbus.toml": toml }) };
  try {
    for (const [name, text] of Object.entries(all)) {
      mkdirSync(join(cwd, name, ".."), { recursive: true });
      writeFileSync(join(cwd, name), text);
    }
    return { ...loadConfig({ cwd, platform: "linux", env: { HOME, ...env }, ...options }), cwd };
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

/** The one line that a refused configuration is answered with. */
export function refusal(given: Given): string {
  try {
    load(given);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    const { message } = error as ConfigError;
    expect(message).not.toContain("\n");
    return message.replaceAll(/\S*\/agentbus-cwd-\w+/g, "<cwd>");
  }
  throw new Error("the configuration was accepted");
}
