import { systemClock } from "../clock.ts";
import { createLogger } from "../log.ts";
import { createSkills } from "../skills.ts";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";

const SHOWN = 10;
/** A directory on a network drive may not answer. */
const WAIT_MS = 5_000;
const MEND =
  "let the user of the gateway read it, or keep what is too many elsewhere: it is looked at again by itself";

/** Which skills a gateway that is started here could use, and what is wrong with others. */
export async function checkSkills(config: Config, cwd: string): Promise<Finding[]> {
  const check = "skills";
  const log = createLogger({ ...config.log, level: "silent" });
  const skills = createSkills(config, systemClock, log, cwd);
  const looked = await Promise.race([skills.reload().then(() => true), Bun.sleep(WAIT_MS).then(() => false)]);
  skills.close();
  if (!looked) {
    const finding = `no answer within ${WAIT_MS / 1_000} s from a directory of skills`;
    return [
      { check, state: "failed", finding, advice: "see skills.directories, and the drives they are on" },
    ];
  }
  const names = [...skills.usable.keys()];
  const more = names.length > SHOWN ? `, and ${names.length - SHOWN} more` : "";
  const finding =
    names.length === 0
      ? "none; a folder with a SKILL.md in <data_dir>/skills is one"
      : `${names.length} can be used: ${names.slice(0, SHOWN).join(", ")}${more}`;
  const broken = skills.list().filter(({ state }) => state === "broken");
  const faults = skills
    .directories()
    .flatMap(({ directory, reason }) => (reason === undefined ? [] : [`${directory}: ${reason}`]));
  return [
    { check, state: "ok", finding },
    ...faults.map((fault): Finding => ({ check, state: "warning", finding: fault, advice: MEND })),
    ...broken.slice(0, SHOWN).map(({ name, directory, reason }): Finding => {
      const advice = "mend its SKILL.md; a gateway that runs reads it by itself";
      return { check, state: "warning", finding: `${name} in ${directory} is broken: ${reason}`, advice };
    }),
  ];
}
