import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Arena } from "./beside.ts";

export const HOOKS = [
  "before_message",
  "before_run",
  "before_tool_call",
  "after_tool_call",
  "after_message",
  "after_run",
] as const;

export interface View {
  readonly name: string;
  readonly state: string;
  readonly reason?: string;
}

/** The plug-ins of a gateway, as its folder has them. */
export function pluginsOf(arena: Arena) {
  const folder = join(arena.gateway.data_dir, "plugins");
  const all = async (): Promise<View[]> => ((await arena.call("plugin.list")) as { plugins: View[] }).plugins;
  return {
    /** Appears whole, as editors write it. */
    async put(name: string, text: string): Promise<void> {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(join(folder, `.${name}.new`), text, { mode: 0o600 });
      await rename(join(folder, `.${name}.new`), join(folder, `${name}.ts`));
    },
    async clear(): Promise<void> {
      await rm(folder, { recursive: true, force: true });
      await arena.call("plugin.reload");
    },
    reload: () => arena.call("plugin.reload"),
    all,
    /** Waits until those named have come to that state. */
    async become(state: string, names: readonly string[]): Promise<View[]> {
      const deadline = performance.now() + 20_000;
      for (;;) {
        const views = (await all()).filter((view) => names.includes(view.name));
        const done = views.filter((view) => view.state === state);
        if (done.length === names.length) return done;
        if (performance.now() > deadline)
          throw new Error(`not all became ${state}: ${JSON.stringify(views)}`);
        await Bun.sleep(20);
      }
    },
  };
}

/** A plug-in with one hook, whose body is given. */
export function hooked(name: string, hook: string, body: string, more = ""): string {
  return `import { definePlugin, Type } from "agentbus/plugin";
export default definePlugin({
  name: "${name}",
  ${more}
  hooks: { ${hook}: ${body} },
});
`;
}
