import type { Clock } from "./core/ports.ts";
import { inTime } from "./in-time.ts";
import type { createPlugins } from "./plugins.ts";
import type { createSkills } from "./skills.ts";

/** How long a start waits for the skills: a directory on a network drive may not answer. */
const SKILLS_MS = 5_000;
/** How long the ends of plug-ins may take at a stop. */
const CLOSE_MS = 5_000;

/** What reads directories and runs what is in them. */
export function extensionsOf(
  skills: ReturnType<typeof createSkills>,
  { plugins, folders, loader }: ReturnType<typeof createPlugins>,
  clock: Clock,
) {
  return {
    async start(): Promise<void> {
      await inTime(skills.start(), SKILLS_MS, clock);
      await folders.start();
    },
    async close(): Promise<void> {
      skills.close();
      folders.close();
      await inTime(plugins.close(), CLOSE_MS, clock);
      loader.close();
    },
  };
}
