import { lengthUtf8 } from "../core/text.ts";
import type { Skill } from "./view.ts";

const HEAD =
  "Skills are instructions for particular tasks. When one of these fits, call the tool `skill` with its name before anything else:";
/** How much of each description is said, the first that fits. */
const DESCRIPTION_CHARS = [1_024, 512, 256, 128, 64, 0];

/** The skills as a model is told of them, in at most so many bytes: the more there are, the less is said of each. */
export function promptOf(skills: Iterable<Pick<Skill, "name" | "description">>, max_bytes: number): string {
  const all = [...skills];
  if (all.length === 0) return "";
  for (const chars of DESCRIPTION_CHARS) {
    const text = [HEAD, ...all.map((skill) => lineOf(skill, chars))].join("\n");
    if (lengthUtf8(text) <= max_bytes) return text;
  }
  const names: string[] = [];
  let room = max_bytes - lengthUtf8(HEAD) - 64;
  for (const skill of all) {
    const line = lineOf(skill, 0);
    room -= line.length + 1;
    if (room < 0) break;
    names.push(line);
  }
  return [HEAD, ...names, `and ${all.length - names.length} more`].join("\n");
}

function lineOf({ name, description }: Pick<Skill, "name" | "description">, chars: number): string {
  if (chars === 0) return `- ${name}`;
  // One line each, whatever is in it.
  const text = description.replaceAll(/[\s\p{Cc}]+/gu, " ");
  return `- ${name}: ${text.length <= chars ? text : `${text.slice(0, chars).toWellFormed()}…`}`;
}
