import type { SkillView } from "../core/skills.ts";
import type { FoundSkill, Look } from "./directory.ts";
import type { SkillText } from "./front-matter.ts";

/** A skill that can be used. */
export interface Skill extends SkillText {
  /** Its folder's real path. */
  readonly folder: string;
  /** Of SKILL.md. */
  readonly digest: string;
}

/** What was found, as clients are shown it, and what of it can be used; both by name in order. */
export interface Views {
  readonly views: readonly SkillView[];
  readonly usable: ReadonlyMap<string, Skill>;
}

/**
 * Of those with one name the first that could ever be read is used. What a link leads to that was found already is not
 * told twice. Past `max_bytes` of instructions in all, a skill counts as broken.
 */
export function viewsOf(looks: readonly Look[], max_bytes: number): Views {
  const groups = Map.groupBy(
    looks.flatMap(({ found }) => found),
    // Folders may be called anything, also what a terminal would heed.
    ({ name }) => name.replaceAll(/\p{Cc}/gu, "\uFFFD"),
  );
  const views: SkillView[] = [];
  const usable = new Map<string, Skill>();
  let bytes = 0;
  for (const name of [...groups.keys()].sort()) {
    const group = onlyOnce(groups.get(name) ?? []);
    let used: FoundSkill | null = null;
    for (const skill of group) {
      const { good, folder } = skill;
      if (used !== null || good === null || folder === null) {
        views.push(viewOf({ ...skill, name }, used));
        continue;
      }
      bytes += Buffer.byteLength(good.body);
      if (bytes > max_bytes) {
        const reason = `all skills together have more than ${max_bytes} bytes of instructions: shorten some`;
        views.push(viewOf({ ...skill, good: null, reason }, null));
        continue;
      }
      used = skill;
      views.push(viewOf(skill, null));
      usable.set(name, { ...good, folder: folder.path });
    }
  }
  return { views, usable };
}

function onlyOnce(group: readonly FoundSkill[]): FoundSkill[] {
  const seen = new Set<string>();
  return group.filter(({ folder }) => {
    if (folder === null) return true;
    if (seen.has(folder.path)) return false;
    seen.add(folder.path);
    return true;
  });
}

/** `used`: the one that is used in its place. */
function viewOf({ name, directory, good, reason }: FoundSkill, used: FoundSkill | null): SkillView {
  const place = { name, directory: directory.label };
  if (good === null) return { ...place, state: "broken", ...(reason !== null && { reason }) };
  const { description, license, compatibility, metadata, allowed_tools } = good;
  const said = {
    description,
    ...(license !== undefined && { license }),
    ...(compatibility !== undefined && { compatibility }),
    ...(metadata !== undefined && { metadata: { ...metadata } }),
    ...(allowed_tools !== undefined && { allowed_tools: [...allowed_tools] }),
  };
  if (used !== null) {
    return { ...place, state: "shadowed", reason: `the one in ${used.directory.label} is used`, ...said };
  }
  return {
    ...place,
    state: reason === null ? "ready" : "stale",
    ...(reason !== null && { reason }),
    ...said,
  };
}

/** What changes, by name, when anything about the skills of that name does. */
export function fingerprints({ views, usable }: Views): Map<string, string> {
  const prints = new Map<string, string>();
  for (const { name, directory, state, reason = "" } of views) {
    const so_far = prints.get(name) ?? usable.get(name)?.digest ?? "";
    prints.set(name, [so_far, directory, state, reason].join("\n"));
  }
  return prints;
}
