import { join, resolve } from "node:path";

export interface ClientFile {
  readonly name: string;
  readonly text: string;
}

/** Modules of the client that are loaded where they are needed, and what they are called beside client.js. */
const PARTS: Readonly<Record<string, string>> = {
  "client/http.ts": "client-http.js",
  "client/admission.ts": "client-device.js",
  "client/kept.ts": "client-outbox.js",
};

/** The client as pages and packages are given it: client.js first, then what it loads. @throws where a part shares code with another file */
export async function buildClient(root: string, minify = false): Promise<ClientFile[]> {
  const source = join(root, "src");
  const files = [["package/client.ts", "client.js"], ...Object.entries(PARTS)] as const;
  const seen = new Set<string>();
  const built: ClientFile[] = [];
  for (const [module = "", name = ""] of files) {
    const { outputs, metafile } = await Bun.build({
      entrypoints: [join(source, module)],
      target: "browser",
      format: "esm",
      metafile: true,
      minify,
      // Not by the bundler's own splitting, which brings code along that loads styles.
      plugins: [
        {
          name: "parts of the client",
          setup: (build) =>
            void build.onResolve({ filter: /^\.\/.*\.ts$/ }, ({ path, importer, kind }) => {
              const part =
                PARTS[
                  resolve(importer, "..", path)
                    .slice(source.length + 1)
                    .replaceAll("\\", "/")
                ];
              return kind === "dynamic-import" && part !== undefined
                ? { path: `./${part}`, external: true }
                : undefined;
            }),
        },
      ],
    });
    for (const input of Object.keys(metafile?.inputs ?? {})) {
      if (seen.has(input)) throw new Error(`${name} shares ${input} with another file of the client`);
      seen.add(input);
    }
    built.push({ name, text: (await outputs[0]?.text()) ?? "" });
  }
  return built;
}
