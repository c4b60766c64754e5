import type { PluginBook } from "../core/plugins.ts";
import { pluginList, pluginReload } from "../protocol/api/plugin.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

export function pluginMethods({ plugins }: { readonly plugins: PluginBook }): MethodHandler[] {
  return [
    handle(pluginList, () => ({ plugins: [...plugins.list()], directories: [...plugins.directories()] })),
    handle(pluginReload, async ({ name }) => ({ changed: [...(await plugins.reload(name))] })),
  ];
}
