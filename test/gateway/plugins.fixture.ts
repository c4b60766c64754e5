import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Stack } from "./stack.ts";
import { eventually } from "./stack.ts";

/** A file of a plug-in, below the data directory's `plugins`, as an editor writes it. */
export async function putPlugin({ gateway }: Stack, file: string, text: string): Promise<void> {
  const path = join(gateway.data_dir, "plugins", file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, text, { mode: 0o644 });
  await rename(`${path}.new`, path);
}

/** Waits until a plug-in is in that state; what is listed of it. */
export async function untilPlugin(stack: Stack, name: string, state: string) {
  const plugins = await eventually(
    async () => (await stack.owner.call("plugin.list")).plugins,
    (all: { name: string; state: string }[]) =>
      all.some((each) => each.name === name && each.state === state),
  );
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  return plugins.find((each: { name: string }) => each.name === name) as any;
}
