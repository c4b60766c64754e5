import { mkdir, mkdtemp, realpath, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import type { Limits } from "../../src/core/limits.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { SkillView } from "../../src/core/skills.ts";
import { Catalogue } from "../../src/skill/catalogue.ts";
import { createLogbook } from "../support/logbook.ts";

export interface SkillWorldOptions {
  /** Directories below the world's own folder, the one that wins first. */
  readonly directories?: readonly string[];
  readonly auto_reload?: boolean;
  readonly limits?: Partial<Limits>;
}

/** A catalogue of skills over real directories. */
export interface SkillWorld extends AsyncDisposable {
  readonly catalogue: Catalogue;
  readonly log: ReturnType<typeof createLogbook>;
  /** The names that changed, in the order it was told. */
  readonly told: (readonly string[])[];
  /** A path below the world's folder. */
  path(...parts: string[]): string;
  /** A file, with the folders it needs. */
  write(path: string, content: string | Uint8Array): Promise<void>;
  /** A file that appears whole, as editors and installers write it. */
  put(path: string, content: string): Promise<void>;
  /** `name state`, in the order of the list. */
  states(): string[];
  view(name: string, state?: SkillView["state"]): SkillView | undefined;
}

export function skillText(
  name: string,
  description = `What ${name} is for.`,
  body = `How ${name} goes.`,
): string {
  return `---\nname: ${name}\ndescription: ${description}\n---\n\n${body}\n`;
}

export async function openSkills(options: SkillWorldOptions = {}): Promise<SkillWorld> {
  const { directories = ["skills"], auto_reload = false } = options;
  const home = await realpath(await mkdtemp(join(tmpdir(), "agentbus-skills-")));
  const path = (...parts: string[]): string => join(home, ...parts);
  const log = createLogbook();
  const told: (readonly string[])[] = [];
  const catalogue = new Catalogue({
    directories: directories.map((label) => ({ label, path: path(label) })),
    auto_reload,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    clock: systemClock,
    log,
  });
  catalogue.onChange((names) => void told.push(names));
  const write = async (file: string, content: string | Uint8Array): Promise<void> => {
    await mkdir(dirname(path(file)), { recursive: true });
    await writeFile(path(file), content);
  };
  return {
    catalogue,
    log,
    told,
    path,
    write,
    async put(file, content) {
      await write(`${file}.new`, content);
      await rename(path(`${file}.new`), path(file));
    },
    states: () => catalogue.list().map(({ name, state }) => `${name} ${state}`),
    view: (name, state) =>
      catalogue.list().find((view) => view.name === name && (state === undefined || view.state === state)),
    async [Symbol.asyncDispose]() {
      catalogue.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}
