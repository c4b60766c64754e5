import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { basename, dirname, join, normalize, resolve } from "node:path";

/** The architecture, read from the source tree: what CONTRIBUTING.md says about it holds, or a test here fails. */
const ROOT = resolve(import.meta.dir, "..");
/** `telemetry` is what is measured and traced, on its way out: it knows the domain and no other adapter. */
const ADAPTERS = [
  "transport",
  "method",
  "store",
  "provider",
  "tool",
  "skill",
  "plugin",
  "auth",
  "automation",
  "telemetry",
];
const LINES_MAX = 300;

/** The rings of the modules below src/: what each may import besides itself. Type-only imports count. */
const RINGS: Record<string, readonly string[]> = {
  protocol: [],
  core: ["protocol"],
  ...Object.fromEntries(ADAPTERS.map((adapter) => [adapter, ["core", "protocol"]])),
  config: ["core", "protocol"],
  log: ["core", "protocol"],
  clock: ["core", "protocol"],
  client: ["protocol"],
  console: ["client"],
  gateway: [...ADAPTERS, "config", "log", "clock", "core", "protocol"],
  embed: ["gateway", ...ADAPTERS, "client", "config", "log", "clock", "core", "protocol"],
  cli: ["embed", "gateway", "client", "config", "log", "clock", "core", "protocol"],
  main: ["cli", "gateway"],
  package: ["embed", "client", "plugin", "config", "core", "protocol"],
};

/** Packages and built-in modules that only some rings may use. */
const PLACES: Record<string, readonly string[]> = {
  "@sinclair/typebox": ["protocol", "core", "config", "method", "transport", "auth", "plugin", "gateway"],
  elysia: ["transport"],
  "@elysiajs/swagger": ["transport"],
  "swagger-ui-dist": ["transport"],
  "@peculiar/x509": ["gateway"],
  "reflect-metadata": ["gateway"],
  openai: ["provider"],
  "@cfworker/json-schema": ["tool"],
  "@modelcontextprotocol/client": ["tool"],
  htmlparser2: ["tool"],
  pino: ["log"],
  "pino-pretty": ["log"],
  "bun:sqlite": ["store"],
  fflate: ["cli"],
  "bun:ffi": ["gateway"],
  uqr: ["cli"],
  croner: ["automation"],
  "js-yaml": ["skill"],
  react: ["console"],
  "react-dom": ["console"],
  marked: ["console"],
  remend: ["console"],
  lowlight: ["console"],
  uplot: ["console"],
  virtua: ["console"],
};

/** Entry points: whatever these reach is in use. */
const ENTRIES = [
  "main.ts",
  "store/sqlite/writer.ts",
  "store/sqlite/reader.ts",
  "plugin/watchdog.ts",
  "plugin/isolate.ts",
  "client/client.ts",
  "console/main.tsx",
  "package/client.ts",
  "package/gateway.ts",
  // What a gateway that keeps nothing is given.
  "store/memory.ts",
];
const MANIFEST = "../package.json";

interface Import {
  readonly from: string;
  readonly specifier: string;
  /** Nothing of it is left when the program runs. */
  readonly types: boolean;
}

const sources = scan("src/**/*.{ts,tsx}").map((path) => ({
  path: path.slice("src/".length),
  text: read(path),
}));
const code = sources.filter(({ path }) => !path.endsWith(".d.ts"));
const imports = code.flatMap(({ path, text }) => importsOf(path, text));

function scan(pattern: string): string[] {
  return [...new Bun.Glob(pattern).scanSync({ cwd: ROOT, dot: true })]
    .map((path) => path.replaceAll("\\", "/"))
    .sort();
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Static imports, re-exports and `import(…)`, of types too. */
function importsOf(from: string, text: string): Import[] {
  const statements = text.matchAll(/^(?:import|export)\b(?<head>[^;"'`]*?)\bfrom\s*"(?<specifier>[^"]+)"/gm);
  const bare = text.matchAll(/^import\s+"(?<specifier>[^"]+)"/gm);
  const dynamic = text.matchAll(/\bimport\(\s*"(?<specifier>[^"]+)"/g);
  return [...statements, ...bare, ...dynamic].map(({ groups }) => ({
    from,
    specifier: groups?.["specifier"] ?? "",
    types: groups?.["head"]?.trimStart().startsWith("type ") ?? false,
  }));
}

/** The file below src/ that a relative specifier means; null: it is a package. */
function target({ from, specifier }: Import): string | null {
  return specifier.startsWith(".") ? normalize(join(dirname(from), specifier)).replaceAll("\\", "/") : null;
}

/** Files beside main.ts that are no ring of their own belong to the gateway. */
function ringOf(path: string): string {
  const [first = "", ...rest] = path.split("/");
  const name = rest.length > 0 ? first : first.replace(/\.tsx?$/, "");
  return name in RINGS ? name : rest.length > 0 ? `unknown directory ${first}` : "gateway";
}

function packageOf(specifier: string): string {
  if (specifier.includes(":")) return specifier;
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

/** What runs: without types and comments. */
function running(path: string, text: string): string {
  try {
    return new Bun.Transpiler({ loader: path.endsWith("x") ? "tsx" : "ts", target: "bun" }).transformSync(
      text,
    );
  } catch (cause) {
    throw new Error(`${path} cannot be read`, { cause });
  }
}

describe("imports", () => {
  test("point to the right only", () => {
    const wrong = imports.flatMap((each) => {
      const to = target(each);
      if (to === null || to === MANIFEST) return [];
      const [ring, other] = [ringOf(each.from), ringOf(to)];
      return ring === other || RINGS[ring]?.includes(other)
        ? []
        : [`${each.from} imports ${to} (${ring} → ${other})`];
    });
    expect(wrong).toEqual([]);
  });

  test("reach files that are there, by their whole name", () => {
    const known = new Set([...sources.map(({ path }) => path), MANIFEST]);
    const wrong = imports.filter((each) => {
      const to = target(each);
      return to !== null && !known.has(to) && !to.endsWith(".css");
    });
    expect(wrong.map(({ from, specifier }) => `${from}: ${specifier}`)).toEqual([]);
  });

  test("of packages stay where they belong", () => {
    const wrong = imports.flatMap(({ from, specifier, ...each }) => {
      if (target({ from, specifier, ...each }) !== null) return [];
      const ring = ringOf(from);
      const name = packageOf(specifier);
      const pure = ["core", "protocol", "client"].includes(ring);
      const builtin = /^(?:node:|bun$|bun:)/.test(specifier);
      const allowed = name in PLACES ? PLACES[name]?.includes(ring) === true : builtin && !pure;
      return allowed ? [] : [`${from}: ${specifier}`];
    });
    expect(wrong).toEqual([]);
  });

  test("protocol needs TypeBox alone, the client needs the protocol's types alone", () => {
    const client = imports.filter(
      (each) => ringOf(each.from) === "client" && ringOf(target(each) ?? "client/") !== "client",
    );
    expect(
      client.filter(({ types }) => !types).map(({ from, specifier }) => `${from}: ${specifier}`),
    ).toEqual([]);
    const protocol = imports.filter((each) => ringOf(each.from) === "protocol" && target(each) === null);
    expect(new Set(protocol.map(({ specifier }) => packageOf(specifier)))).toEqual(
      new Set(["@sinclair/typebox"]),
    );
  });

  test("reach every file from an entry point", () => {
    const from = Map.groupBy(imports, (each) => each.from);
    const seen = new Set<string>();
    const visit = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      for (const each of from.get(path) ?? []) {
        const to = target(each);
        if (to !== null) visit(to);
      }
    };
    ENTRIES.forEach(visit);
    expect(code.map(({ path }) => path).filter((path) => !seen.has(path))).toEqual([]);
  });
});

describe("what runs", () => {
  test("core and protocol read no clock, set no timer and reach nothing outside", () => {
    const outside =
      /\b(?:Date\.now|new Date\b|performance\.|setTimeout|setInterval|setImmediate|queueMicrotask|fetch\(|Bun\.|process\.|WebSocket\b)/;
    const wrong = code
      .filter(({ path }) => ["core", "protocol"].includes(ringOf(path)))
      .flatMap(({ path, text }) =>
        running(path, text)
          .split("\n")
          .filter((line) => outside.test(line))
          .map((line) => `${path}: ${line.trim()}`),
      );
    expect(wrong).toEqual([]);
  });

  test("only the transports open ports", () => {
    const opens = /\bBun\.serve\b|\bnew Elysia\b|\bcreateServer\(/;
    const wrong = code.filter(
      ({ path, text }) => ringOf(path) !== "transport" && opens.test(running(path, text)),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });
});

const files = ["src", "test", "bench", "scripts"].flatMap((folder) => scan(`${folder}/**/*.{ts,tsx}`));

describe("files", () => {
  test(`have ${LINES_MAX} lines at most`, () => {
    const long = files
      .map((path) => [path, read(path).split("\n").length - 1] as const)
      .filter(([, lines]) => lines > LINES_MAX);
    expect(long.map(([path, lines]) => `${path}: ${lines}`)).toEqual([]);
  });

  test("have names that say what is in them", () => {
    const vague =
      /^(?:.*[-.])?(?:utils?|helpers?|types|managers?|services?|common|misc|index|handler2)\.tsx?$/;
    expect(files.filter((path) => vague.test(basename(path)))).toEqual([]);
    expect(files.filter((path) => !/^[a-z0-9.-]+$/.test(basename(path)))).toEqual([]);
  });

  test("leave nothing for later", () => {
    const later = new RegExp(
      ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].map((word) => `\\b${word}\\b`).join("|"),
    );
    expect(files.filter((path) => later.test(read(path)))).toEqual([]);
  });

  test("know nothing of the machine they were written on", () => {
    const private_places = [
      "/wo" + "rk/",
      "/ro" + "ot/",
      "/Use" + "rs/",
      "registry" + ".npmjs",
      "art" + "ifactory",
      "verd" + "accio",
    ];
    const texts = scan("**/*").filter(
      (path) =>
        !/^(?:node_modules|dist|coverage|\.git)\//.test(path) &&
        /\.(?:ts|tsx|js|c|py|sh|md|json|jsonc|toml|yml|yaml|lock|html|css)$|^\.ci\/|^[A-Z]+$/.test(path),
    );
    const wrong = texts.flatMap((path) => {
      const text = read(path);
      return private_places.filter((place) => text.includes(place)).map((place) => `${path}: ${place}`);
    });
    expect(texts).toContain("package.json");
    expect(wrong).toEqual([]);
  });
});
