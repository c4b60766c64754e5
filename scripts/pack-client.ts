import { join } from "node:path";

export interface ClientFile {
  readonly name: string;
  readonly text: string;
}

/** Modules of the client that are loaded where they are needed, and what they are called beside client.js. */
const PARTS: Readonly<Record<string, string>> = {
  "src/client/http.ts": "client-http.js",
  "src/client/admission.ts": "client-device.js",
};

/**
 * The client as pages and packages are given it: client.js first, then the parts that it loads. @throws where the bundler makes
 * other files of it, as it does once a part shares code with what is loaded before
 */
export async function buildClient(root: string, minify = false): Promise<ClientFile[]> {
  const { outputs, metafile } = await Bun.build({
    root: join(root, "src"),
    entrypoints: [join(root, "src/package/client.ts")],
    target: "browser",
    format: "esm",
    splitting: true,
    metafile: true,
    minify,
    naming: { entry: "client.js", chunk: "chunk-[hash].js" },
  });
  const names = new Map<string, string>();
  for (const [path, { entryPoint = "" }] of Object.entries(metafile?.outputs ?? {})) {
    const part = Object.keys(PARTS).find((each) => entryPoint.endsWith(each));
    const file = path.replace(/^.*\//, "");
    if (part !== undefined) names.set(file, PARTS[part] ?? "");
    else if (file !== "client.js")
      throw new Error(`${file}: a part of the client shares code with client.js`);
  }
  if (names.size !== Object.keys(PARTS).length) throw new Error("a part of the client is not by itself");
  const files = await Promise.all(
    outputs.map(async (output) => {
      const file = output.path.replace(/^.*\//, "");
      let text = await output.text();
      for (const [chunk, name] of names) text = text.replaceAll(chunk, name);
      return { name: names.get(file) ?? file, text };
    }),
  );
  return files.sort((a, b) => Number(b.name === "client.js") - Number(a.name === "client.js"));
}
