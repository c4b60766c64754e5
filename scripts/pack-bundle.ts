import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Bundled } from "./bundled.ts";
import { bundledPackages } from "./bundled.ts";
import { buildClient } from "./pack-client.ts";

interface Parts {
  /** Modules below src/ that share what is in them and run on Bun. */
  readonly gateway: readonly string[];
  /** One that runs anywhere: with all it loads beside it. */
  readonly client: string;
  /** Packages that are installed beside ours. */
  readonly external: readonly string[];
}

/** The workers are loaded by their path below src/. */
const WORKERS = ["store/sqlite/writer", "store/sqlite/reader", "plugin/watchdog", "plugin/isolate"];

/** Bundles the modules into `outdir`; answers what went in besides our own code. @throws where it fails */
export async function bundlePackage(root: string, outdir: string, parts: Parts): Promise<Bundled[]> {
  const sourceOf = (module: string): string => join(root, "src", `${module}.ts`);
  const common = { root: join(root, "src"), outdir, format: "esm", metafile: true } as const;
  const [gateway, client, pages] = await Promise.all([
    Bun.build({
      ...common,
      entrypoints: [...parts.gateway, ...WORKERS].map(sourceOf),
      target: "bun",
      // One class of each error, whichever entry point it is imported by. Names stay: Elysia reads source text.
      splitting: true,
      external: [...parts.external],
      define: { "process.env.NODE_ENV": '"production"', "Bun.env.NODE_ENV": '"production"' },
    }),
    buildClient(root),
    // Only for what is in it: the console is packed as the executable has it.
    Bun.build({ entrypoints: [join(root, "src/console/main.tsx")], target: "browser", metafile: true }),
  ]);
  const place = join(outdir, dirname(parts.client));
  mkdirSync(place, { recursive: true });
  for (const { name, text } of client) writeFileSync(join(place, name), text);
  // The client is our own code alone.
  return bundledPackages(
    root,
    [gateway, pages].flatMap(({ metafile }) => Object.keys(metafile?.inputs ?? {})),
  );
}
