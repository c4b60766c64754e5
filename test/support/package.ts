import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { changedAt } from "./changed.ts";
import { exclusive } from "./exclusive.ts";

const ROOT = resolve(import.meta.dir, "../..");
const PACK_MS = 150_000;
/** Packed once for all tests, as long as nothing that goes in was changed. */
const PACKED = join(ROOT, "dist/package-test");
const PACKED_OF = [
  "{src,scripts}/**/*",
  "{package,tsconfig}.json",
  "bun.lock",
  "{README,CHANGELOG}.md",
  "LICENSE",
];

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** An empty project that installed the package, as `bun run pack` makes it. */
export interface Project extends AsyncDisposable {
  readonly directory: string;
  /** The command the package brings. */
  readonly command: string;
  write(file: string, text: string): Promise<string>;
  /** Runs a program in the project, to its end. */
  run(cmd: readonly string[], env?: Readonly<Record<string, string>>): Promise<Outcome>;
  /** What the compiler says of `files` under these options besides `strict`, declarations of packages included; "": nothing. */
  check(files: readonly string[], options: Readonly<Record<string, unknown>>): Promise<string>;
}

/** What `bun run pack` makes. While that runs, folders of its own come and go in node_modules: whoever copies those waits. */
async function packed(): Promise<string> {
  const stamp = String(changedAt(PACKED_OF));
  const stamped = join(PACKED, "stamp");
  if (existsSync(stamped)) {
    const [made = "", of] = readFileSync(stamped, "utf8").split("\n");
    if (of === stamp) return made;
  }
  const argv = [process.execPath, join(ROOT, "scripts/pack.ts"), "--outdir", PACKED];
  const child = Bun.spawn(argv, {
    cwd: ROOT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: PACK_MS,
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`packing ended with ${code}\n${out}${err}`);
  const made = resolve(ROOT, lastLine(out));
  await writeFile(stamped, `${made}\n${stamp}`);
  return made;
}

/** Installs it. The types of Bun and Node are there for `types` to name them. */
export async function installPackage(): Promise<Project> {
  const directory = await mkdtemp(join(tmpdir(), "agentbus-project-"));
  const run: Project["run"] = async (cmd, env = {}) => {
    const child = Bun.spawn([...cmd], {
      cwd: directory,
      env: { PATH: Bun.env["PATH"] ?? "", HOME: Bun.env["HOME"] ?? "", ...env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, out, err };
  };
  const must = async (cmd: readonly string[]): Promise<string> => {
    const { code, out, err } = await run(cmd);
    if (code !== 0) throw new Error(`${cmd.join(" ")} ended with ${code}\n${out}${err}`);
    return out;
  };
  const write: Project["write"] = async (file, text) => {
    const path = join(directory, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
    return path;
  };
  await write("package.json", '{"name":"project","private":true,"type":"module"}\n');
  await must([process.execPath, "add", "--prefer-offline", await exclusive("node_modules", packed)]);
  await mkdir(join(directory, "node_modules/@types"), { recursive: true });
  for (const types of ["bun-types", "@types/node"])
    await symlink(join(ROOT, "node_modules", types), join(directory, "node_modules", types));
  return {
    directory,
    command: join(directory, "node_modules/.bin/agentbus"),
    write,
    run,
    async check(files, options) {
      const compilerOptions = {
        strict: true,
        skipLibCheck: false,
        noEmit: true,
        target: "ES2022",
        ...options,
      };
      await write("tsconfig.json", JSON.stringify({ compilerOptions, files }));
      const { code, out, err } = await run([join(ROOT, "node_modules/.bin/tsc"), "--project", "."]);
      return code === 0 ? "" : `${out}${err}`;
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
