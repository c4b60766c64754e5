import { join, resolve } from "node:path";
import type { Drive, Driven } from "./client-driver.ts";
import { exclusive } from "./exclusive.ts";
import { workplace } from "./executable.ts";

const HERE = import.meta.dir;
const ROOT = resolve(HERE, "../..");

/** Where the client has to run, besides a page: the program, where it comes from if it is not here, and what runs a module. */
const RUNTIMES = {
  bun: { program: process.execPath },
  // The oldest one: it has no WebSocket.
  "node 20": { program: "node" },
  "node 22": { program: "node", from: "node@22.23.3" },
  deno: {
    program: "deno",
    from: "deno@2.9.6",
    argv: ["run", "--quiet", "--no-lock", "--allow-net", "--allow-env"],
  },
} as const satisfies Record<string, { program: string; from?: string; argv?: readonly string[] }>;
export type Runtime = keyof typeof RUNTIMES;

/** The words that run a module there. npx installs what is missing, and is not made for two that do so at once. */
export async function commandOf(runtime: Runtime): Promise<readonly string[]> {
  const {
    program,
    from,
    argv = [],
  }: { program: string; from?: string; argv?: readonly string[] } = RUNTIMES[runtime];
  if (from === undefined) return [program, ...argv];
  const where = ["npx", "--yes", `--package=${from}`, "-c", `command -v ${program}`];
  const path = await exclusive("npx", () => Bun.$`${where}`.quiet().text());
  return [path.trim(), ...argv];
}

/** Passes a WebSocket of a package to the client, as a runtime without one can. */
const WITH_SOCKET = `import { WebSocket } from ${JSON.stringify(join(ROOT, "node_modules/ws/wrapper.mjs"))};\n`;

/** The driver and the client in one file, for any runtime. `end` is what it does. */
export async function bundleDriver(end: string, target: "browser" | "node" = "browser"): Promise<string> {
  using place = workplace();
  const entry = place.file(
    "entry.ts",
    `${target === "node" ? WITH_SOCKET : ""}import { drive } from ${JSON.stringify(join(HERE, "client-driver.ts"))};\n${end}\n`,
  );
  const built = await Bun.build({ entrypoints: [entry], target, format: "esm" });
  return (await built.outputs[0]?.text()) ?? "";
}

/** Drives the client in a runtime of its own. */
export async function driveIn(runtime: Runtime, options: Drive, passed_socket = false): Promise<Driven> {
  using place = workplace();
  const more = passed_socket ? ", { WebSocket }" : "";
  // A runtime waits long for a line that fell silent.
  const end = `console.log(JSON.stringify(await drive(JSON.parse(globalThis.process.env.DRIVE)${more})));\nprocess.exit(0);`;
  const script = place.file("drive.mjs", await bundleDriver(end, passed_socket ? "node" : "browser"));
  const child = Bun.spawn([...(await commandOf(runtime)), script], {
    env: { PATH: Bun.env["PATH"] ?? "", HOME: Bun.env["HOME"] ?? "", DRIVE: JSON.stringify(options) },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`${runtime} ended with ${code}\n${out}${err}`);
  return JSON.parse(out) as Driven;
}
