import type { Limits } from "../core/limits.ts";
import type { Tool, ToolSource } from "../core/ports.ts";
import { Slots } from "../core/slots.ts";
import type { Catalogue } from "./catalogue.ts";
import { readInside } from "./confined.ts";
import { SKILL_FILE } from "./directory.ts";
import type { FileList } from "./files.ts";
import { listFiles } from "./files.ts";
import { promptOf } from "./prompt.ts";
import type { ScriptEnd } from "./script.ts";
import { runScript } from "./script.ts";
import type { Skill } from "./view.ts";

/** The names they have among the built-in tools. */
export const SKILL_TOOLS: readonly string[] = ["skill", "skill_run"];

export interface SkillToolsOptions {
  readonly catalogue: Pick<Catalogue, "usable" | "version">;
  readonly limits: Pick<
    Limits,
    "tool_result_bytes" | "skill_prompt_bytes" | "skill_files" | "script_output_bytes" | "scripts"
  >;
  /** Those that exist at all. */
  readonly names: ReadonlySet<string>;
}

const SOURCE = "skill";
const NAMES_SHOWN = 50;
const ARGS = 64;
const ARG_CHARS = 8_192;
const LIST_BYTES = 8_192;
/** Kept free in a result for what is said around a file or an output. */
const AROUND_BYTES = 1_024;

/** Where there are no skills, nothing is offered and nothing is said. */
export function createSkillTools(options: SkillToolsOptions): ToolSource {
  const { catalogue, limits, names } = options;
  // Windows has no process groups to stop.
  const runs = process.platform === "win32" ? [] : [runTool(options)];
  const tools = [readTool(options), ...runs].filter(({ name }) => names.has(name));
  let prompt = { version: -1, text: "" };
  return {
    tools: () => (catalogue.usable.size === 0 ? [] : tools),
    prompt() {
      if (!names.has("skill")) return "";
      const { version } = catalogue;
      if (prompt.version !== version) {
        prompt = { version, text: promptOf(catalogue.usable.values(), limits.skill_prompt_bytes) };
      }
      return prompt.text;
    },
  };
}

function readTool({ catalogue, limits, names }: SkillToolsOptions): Tool {
  return {
    name: "skill",
    source: SOURCE,
    description: "The instructions of a skill, and the names of its files; with `file`, one of these.",
    parameters: {
      type: "object",
      properties: {
        name: { type: "string" },
        file: { type: "string", description: "path within the skill's folder" },
      },
      required: ["name"],
      additionalProperties: false,
    },
    async run({ name, file }) {
      const skill = find(catalogue.usable, name);
      if (typeof file === "string") {
        const room = limits.tool_result_bytes - AROUND_BYTES;
        const { text, bytes, cut } = await readInside(skill.folder, file, room);
        return cut ? `${text}\n\n[the first ${room} of ${bytes} bytes]` : text;
      }
      const list = tell(await listFiles(skill.folder, limits.skill_files), names.has("skill_run"));
      return `${cutTo(skill.body, limits.tool_result_bytes - AROUND_BYTES - Buffer.byteLength(list))}${list}`;
    },
  };
}

function runTool({ catalogue, limits }: SkillToolsOptions): Tool {
  const slots = new Slots(limits.scripts);
  const bounds = {
    kept_bytes: limits.tool_result_bytes - AROUND_BYTES,
    output_bytes: limits.script_output_bytes,
  };
  return {
    name: "skill_run",
    source: SOURCE,
    description: "Runs a script of a skill in the skill's folder, without a shell; its output and exit code.",
    parameters: {
      type: "object",
      properties: {
        skill: { type: "string" },
        script: { type: "string", description: "path within the skill's folder" },
        args: { type: "array", items: { type: "string", maxLength: ARG_CHARS }, maxItems: ARGS },
      },
      required: ["skill", "script"],
      additionalProperties: false,
    },
    async run({ skill, script, args = [] }, { signal }) {
      const { folder } = find(catalogue.usable, skill);
      const given = args as readonly string[];
      if (given.some((arg) => arg.includes("\0"))) throw new Error("args: no program can be given U+0000");
      const end = await slots.use(() => runScript(folder, String(script), given, { signal, bounds }));
      const text = sayEnd(end, bounds.output_bytes);
      if (end.exit_code === 0) return text;
      throw new Error(text);
    },
  };
}

/** @throws Error */
function find(usable: ReadonlyMap<string, Skill>, name: unknown): Skill {
  const skill = usable.get(String(name));
  if (skill !== undefined) return skill;
  const names = [...usable.keys()];
  const more = names.length > NAMES_SHOWN ? ` and ${names.length - NAMES_SHOWN} more` : "";
  const shown = `${names.slice(0, NAMES_SHOWN).join(", ")}${more}`;
  throw new Error(`there is no skill ${JSON.stringify(String(name).slice(0, 64))}; there are ${shown}`);
}

function tell({ files, more }: FileList, runs: boolean): string {
  if (files.length === 0) return "";
  const run = runs ? "; run a script with skill_run" : "";
  let text = `\n\nFiles of this skill (read one with skill and file${run}):`;
  for (const { path, bytes } of files) {
    if (Buffer.byteLength(text) > LIST_BYTES) return `${text}\n- and more`;
    text += `\n- ${path} (${bytes} bytes)`;
  }
  return more ? `${text}\n- and more` : text;
}

function cutTo(body: string, max_bytes: number): string {
  const bytes = Buffer.from(body);
  if (bytes.length <= max_bytes) return body;
  const head = new TextDecoder().decode(bytes.subarray(0, max_bytes), { stream: true });
  return `${head}\n\n[the first ${max_bytes} of ${bytes.length} bytes of ${SKILL_FILE}]`;
}

function sayEnd(
  { exit_code, signal, stdout, stderr, dropped, flooded }: ScriptEnd,
  output_bytes: number,
): string {
  const how = exit_code === null ? `ended by ${signal}` : `exit code ${exit_code}`;
  const why = flooded ? `, stopped: it wrote more than ${output_bytes} bytes` : "";
  const parts = [`${how}${why}`];
  if (stdout !== "") parts.push(`stdout:\n${stdout.trimEnd()}`);
  if (stderr !== "") parts.push(`stderr:\n${stderr.trimEnd()}`);
  if (dropped > 0) parts.push(`[${dropped} bytes more were not kept]`);
  return parts.join("\n\n");
}
