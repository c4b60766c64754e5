import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { skillText } from "../adapter/skill.fixture.ts";
import type { Stack } from "./stack.ts";

/** `folder`: below the working directory of the gateway, or below its data directory where it begins with `data/`. */
export async function addSkill(stack: Stack, folder: string, text?: string): Promise<void> {
  const path = join(stack.gateway.data_dir, "..", folder);
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "SKILL.md"), text ?? skillText(folder.slice(folder.lastIndexOf("/") + 1)));
}
