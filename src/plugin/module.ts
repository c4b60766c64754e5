import { definePlugin, GatewayError, Type } from "./api.ts";

const state = { version: 0, provided: false };

/** Gives plug-ins what they import from the gateway, whatever directory they are in. Once in a process. */
function provide(): void {
  if (state.provided) return;
  state.provided = true;
  const exports = { definePlugin, GatewayError, Type };
  Bun.plugin({
    name: "agentbus",
    setup: (build) => void build.module("agentbus/plugin", () => ({ exports, loader: "object" })),
  });
}

/**
 * What a module exports by default, read from disk with the files of it: nothing of what was imported before is used.
 * Settles when the module has run, which may be never. @throws what the module throws
 */
export async function importFresh(path: string, files: Iterable<string>): Promise<unknown> {
  provide();
  // Also those that failed when they ran, of which the cache does not tell.
  for (const file of files) Reflect.deleteProperty(require.cache, file);
  // One that never settles would be waited for again under the same name.
  const name = `${path}?v=${++state.version}`;
  try {
    const { default: exported } = (await import(name)) as { readonly default?: unknown };
    return exported;
  } finally {
    Reflect.deleteProperty(require.cache, name);
  }
}
