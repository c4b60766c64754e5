import type { pluginList } from "../protocol/api/plugin.ts";
import type { ResultOf } from "../protocol/methods.ts";
import type { Scope } from "../protocol/schema.ts";

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

/** Who asks a route of a plug-in. */
export interface RouteCaller {
  /** Null: the route is open, and nobody was asked. */
  readonly user: string | null;
  readonly scopes: ReadonlySet<Scope>;
  /** The client's address. */
  readonly remote: string;
}

/** An HTTP route that a plug-in adds. */
export interface AddedRoute {
  readonly verb: "GET" | "POST" | "PATCH" | "DELETE";
  /** Whole, with its `:names`: `/plugins/weather/forecast/:city`. */
  readonly path: string;
  readonly plugin: string;
  readonly doc: string;
  /** What its caller needs; null: any credential; "open": none. */
  readonly scope: Scope | null | "open";
  /** @throws GatewayError what it is answered with */
  run(request: Request, params: Readonly<Record<string, string>>, caller: RouteCaller): Promise<Response>;
}
