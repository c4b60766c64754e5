import type { skillList } from "../protocol/api/skill.ts";
import type { ResultOf } from "../protocol/methods.ts";

export type SkillView = ResultOf<typeof skillList>["skills"][number];
export type SkillDirectoryView = ResultOf<typeof skillList>["directories"][number];

/** The skills of this gateway, as they are now. */
export interface Skills {
  /** By name, and within a name the one that is used first. */
  list(): readonly SkillView[];
  /** Where they are looked for, the one that wins first. */
  directories(): readonly SkillDirectoryView[];
  /** Looks at all of them now; the names of those that are not what they were. */
  reload(): Promise<readonly string[]>;
}
