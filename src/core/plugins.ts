import type { pluginList } from "../protocol/api/plugin.ts";
import type { ResultOf } from "../protocol/methods.ts";

export type PluginView = ResultOf<typeof pluginList>["plugins"][number];
export type PluginDirectoryView = ResultOf<typeof pluginList>["directories"][number];

/** The plug-ins of this gateway, as they are now. */
export interface PluginBook {
  /** By name. */
  list(): readonly PluginView[];
  /** Where they are looked for. */
  directories(): readonly PluginDirectoryView[];
  /** Loads what changed or failed; with a name that one, changed or not. The names of those that are not what they were. */
  reload(name?: string): Promise<readonly string[]>;
}
