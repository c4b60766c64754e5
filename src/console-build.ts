import { join } from "node:path";

/** One file of the console as a browser is given it. */
export interface BuiltFile {
  /** With the hash of what is in it, so that it may be kept for ever. */
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What the page names: the rest is found from there. */
export interface ConsoleEntry {
  readonly script: string;
  readonly style: string;
  readonly icon: string;
  readonly touch_icon: string;
  readonly manifest: string;
}

export interface BuiltConsole {
  readonly entry: ConsoleEntry;
  readonly files: readonly BuiltFile[];
}

const SOURCES = join(import.meta.dir, "console");

/** Bundles the console for browsers, from its sources. @throws AggregateError with what is wrong in them */
export async function buildConsole(): Promise<BuiltConsole> {
  const { outputs } = await Bun.build({
    entrypoints: [join(SOURCES, "main.tsx")],
    target: "browser",
    format: "esm",
    splitting: true,
    minify: true,
    define: { "process.env.NODE_ENV": '"production"' },
    naming: { entry: "console-[hash].[ext]", chunk: "[name]-[hash].[ext]", asset: "[name]-[hash].[ext]" },
    throw: true,
  });
  const files: BuiltFile[] = [];
  for (const output of outputs) {
    const name = output.path.replace(/^\.?\//, "");
    files.push({ name, bytes: new Uint8Array(await output.arrayBuffer()) });
  }
  const pictures = await Promise.all(
    ["icon.svg", "icon-192.png", "icon-512.png", "icon-maskable.png"].map(picture),
  );
  files.push(...pictures);
  const [icon = "", small = "", large = "", maskable = ""] = pictures.map(({ name }) => name);
  const manifest = hashed("manifest.webmanifest", manifestOf({ icon, small, large, maskable }));
  files.push(manifest);
  const styles = files.filter(({ name }) => name.endsWith(".css"));
  // What is loaded later brings no styles along: a browser would not be told of them.
  if (styles[0] === undefined || styles.length > 1) throw new Error("the console has one style sheet");
  const entry = {
    script: outputs.find(({ kind }) => kind === "entry-point")?.path.replace(/^\.?\//, "") ?? "",
    style: styles[0].name,
    icon,
    touch_icon: small,
    manifest: manifest.name,
  };
  return { entry, files };
}

async function picture(name: string): Promise<BuiltFile> {
  return hashed(name, new Uint8Array(await Bun.file(join(SOURCES, name)).arrayBuffer()));
}

function hashed(name: string, bytes: Uint8Array<ArrayBuffer>): BuiltFile {
  const dot = name.lastIndexOf(".");
  const hash = Bun.hash(bytes).toString(36).padStart(8, "0").slice(0, 8);
  return { name: `${name.slice(0, dot)}-${hash}${name.slice(dot)}`, bytes };
}

/** What makes the page an application of a phone. Its pictures are beside it. */
function manifestOf(pictures: Record<"icon" | "small" | "large" | "maskable", string>) {
  const { icon, small, large, maskable } = pictures;
  const manifest = {
    name: "agentbus",
    short_name: "agentbus",
    id: "/",
    start_url: "/",
    scope: "/",
    display: "standalone",
    background_color: "#faf9f7",
    theme_color: "#faf9f7",
    icons: [
      { src: icon, sizes: "any", type: "image/svg+xml" },
      { src: small, sizes: "192x192", type: "image/png" },
      { src: large, sizes: "512x512", type: "image/png" },
      { src: maskable, sizes: "512x512", type: "image/png", purpose: "maskable" },
    ],
  };
  return new TextEncoder().encode(JSON.stringify(manifest));
}
