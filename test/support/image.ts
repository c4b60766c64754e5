import { copyFileSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { debianRoot } from "./debian-root.ts";
import { workplace } from "./executable.ts";
import type { Outcome } from "./executable.ts";
import { canIsolate } from "./namespaces.ts";
import { needs } from "./needs.ts";

const ROOT = resolve(import.meta.dir, "../..");
/** What no program needs. */
const LEFT_OUT = ["usr/share/doc", "usr/share/locale", "usr/share/man"].map((path) => `--exclude=./${path}`);

export interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly ExposedPorts: Readonly<Record<string, object>>;
  readonly Volumes: Readonly<Record<string, object>>;
  readonly WorkingDir: string;
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly StopSignal: string;
  readonly Healthcheck: { readonly Test: readonly string[] };
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Folders and files of this machine, and where they are in the container. */
  readonly mounts?: Readonly<Record<string, string>>;
}

/** A container that was made of the image, and never started. */
export interface MadeContainer {
  /** Starts a program in it, as the user of the image. */
  start(argv: readonly string[], options?: RunOptions): Bun.Subprocess<"ignore", "pipe", "pipe">;
  /** The same, to its end. */
  run(argv: readonly string[], options?: RunOptions): Promise<Outcome>;
}

export interface BuiltImage extends Disposable {
  readonly config: ImageConfig;
  /** Another one, in which nothing is left of those before it. */
  container(): Promise<MadeContainer>;
}

/** Whether images can be built and run here, without an engine. */
export function canBuild(): boolean {
  if (process.platform !== "linux") return false;
  if (!needs("buildah", "buildah") || !needs("debootstrap", "debootstrap")) return false;
  return canIsolate("no container can be run");
}

/** Builds deploy/container/Dockerfile with an executable, on a Debian that was made here instead of a registry's. */
export async function buildImage(executable: string): Promise<BuiltImage> {
  const place = workplace();
  const file = (name: string): string => join(place.path, name);
  const words = ["--storage-driver", "vfs", "--root", file("store"), "--runroot", file("run")];
  const buildah = (...argv: readonly string[]) =>
    Bun.spawn(["buildah", ...words, ...argv], {
      env: { PATH: Bun.env["PATH"] ?? "", HOME: place.path, TMPDIR: place.path },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
  const must = async (...argv: readonly string[]): Promise<string> => {
    const { code, out, err } = await ended(buildah(...argv));
    if (code !== 0) throw new Error(`buildah ${argv.join(" ")} ended with ${code}: ${out}${err}`);
    return out.trim();
  };
  mkdirSync(file("context"));
  copyFileSync(executable, file("context/agentbus"));
  const root = await debianRoot();
  await Bun.$`tar --directory=${root} --one-file-system ${LEFT_OUT} --create --file=${file("base.tar")} .`.quiet();
  const base = await must("from", "scratch");
  await must("add", "--quiet", base, file("base.tar"), "/");
  await must("commit", "--quiet", "--rm", base, "base");
  const how = ["--isolation=chroot", "--format=docker", "--layers=false", "--build-arg=BASE=localhost/base"];
  const dockerfile = join(ROOT, "deploy/container/Dockerfile");
  await must("build", "--quiet", ...how, "--tag=agentbus", `--file=${dockerfile}`, file("context"));
  const inspected = JSON.parse(await must("inspect", "--type=image", "agentbus")) as {
    Docker: { config: ImageConfig };
  };
  return {
    config: inspected.Docker.config,
    async container() {
      const name = await must("from", "--pull-never", "agentbus");
      // Without an engine the volume of the image may lie over what is mounted at its place.
      for (const path of Object.keys(inspected.Docker.config.Volumes))
        await must("config", `--volume=${path}-`, name);
      const start: MadeContainer["start"] = (argv, { env = {}, mounts = {} } = {}) =>
        buildah(
          "run",
          "--isolation=chroot",
          ...Object.entries(env).map(([key, value]) => `--env=${key}=${value}`),
          ...Object.entries(mounts).map(([from, to]) => `--volume=${from}:${to}`),
          name,
          "--",
          ...argv,
        );
      return { start, run: (argv, options) => ended(start(argv, options)) };
    },
    [Symbol.dispose]: () => place[Symbol.dispose](),
  };
}

async function ended(child: Bun.Subprocess<"ignore", "pipe", "pipe">): Promise<Outcome> {
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}
