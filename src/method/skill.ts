import type { Skills, SkillView } from "../core/skills.ts";
import { lengthUtf8 } from "../core/text.ts";
import { skillList, skillReload } from "../protocol/api/skill.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

/** Largest page, in bytes of its JSON. */
const PAGE_BYTES = 256 * 1024;

export function skillMethods({ skills }: { readonly skills: Skills }): MethodHandler[] {
  return [
    handle(skillList, ({ cursor }) => ({
      ...pageOf(skills.list(), cursor),
      directories: [...skills.directories()],
    })),
    handle(skillReload, async () => ({ changed: [...(await skills.reload())] })),
  ];
}

/** Those after the name `cursor` that fit into a page; at least all of one name, so that a page never ends within one. */
function pageOf(all: readonly SkillView[], cursor = ""): { skills: SkillView[]; next?: string } {
  const skills: SkillView[] = [];
  let bytes = 0;
  for (const group of Map.groupBy(all, ({ name }) => name).values()) {
    const [first] = group;
    if (first === undefined || first.name <= cursor) continue;
    const size = lengthUtf8(JSON.stringify(group));
    const last = skills.at(-1);
    if (last !== undefined && bytes + size > PAGE_BYTES) return { skills, next: last.name };
    skills.push(...group);
    bytes += size;
  }
  return { skills };
}
