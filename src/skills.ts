import { join, resolve } from "node:path";
import type { Config } from "./config.ts";
import type { Clock, Logger, ToolSource } from "./core/ports.ts";
import type { Engine } from "./engine.ts";
import { skillMethods } from "./method/skill.ts";
import { encodeSignal } from "./protocol/frames.ts";
import { Catalogue } from "./skill/catalogue.ts";
import type { SkillDirectory } from "./skill/directory.ts";
import type { LiveConfig } from "./settings.ts";
import { createSkillTools } from "./skill/tools.ts";

/** Below the working directory, the one that wins first. */
const PROJECT = [".agents/skills", ".claude/skills"];

/** The skills of a gateway that works in `cwd`. None of them is read before `start`. */
export function createSkills(config: Config, clock: Clock, log: Logger, cwd = process.cwd()): Catalogue {
  const { server, skills, limits } = config;
  const directories: SkillDirectory[] = [
    ...PROJECT.map((path) => ({ label: path, path: resolve(cwd, path) })),
    ...skills.directories.map((path) => ({ label: path, path })),
    { label: "<data_dir>/skills", path: join(server.data_dir, "skills") },
  ];
  const { auto_reload } = skills;
  return new Catalogue({ directories: onlyOnce(directories), auto_reload, limits, clock, log });
}

/** A directory that is named twice counts where it wins. */
function onlyOnce(directories: readonly SkillDirectory[]): SkillDirectory[] {
  return [...new Map(directories.toReversed().map((each) => [each.path, each])).values()].toReversed();
}

/** What a model may do with the skills. */
export function skillTools(catalogue: Catalogue, { live, config }: LiveConfig): ToolSource {
  const { limits } = config;
  const made = live.derive(({ tools }) =>
    createSkillTools({ catalogue, limits, names: new Set(tools.builtin) }),
  );
  return { tools: () => made.now.tools(), prompt: () => made.now.prompt?.() ?? "" };
}

/** Lets clients see the skills, and tells those who may read of each change. */
export function showSkills(skills: Catalogue, engine: Engine, clock: Clock): void {
  const { connections, registry, observers } = engine;
  for (const method of skillMethods({ skills })) registry.add(method);
  skills.onChange((names) => {
    const type = "skill.changed";
    const payload = { names: [...names] };
    connections.signal(encodeSignal(type, clock.now(), payload), type, "chat.read");
    observers.tell(type, () => ({ type, ts: clock.now(), payload }));
  });
}
