import { FAILSAFE_SCHEMA, YAMLException, load } from "js-yaml";

/** What a SKILL.md says, in the open Agent Skills format. */
export interface SkillText {
  readonly name: string;
  readonly description: string;
  readonly license?: string;
  readonly compatibility?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Told to clients; it allows nothing: what a tool may do is the owner's to say. */
  readonly allowed_tools?: readonly string[];
  /** The instructions: all that follows the front matter. */
  readonly body: string;
}

const NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;
const NAME_CHARS = 64;
const DESCRIPTION_CHARS = 1_024;
const LICENSE_CHARS = 1_024;
const COMPATIBILITY_CHARS = 500;
const TOOLS = 256;
const FRONT_MATTER_CHARS = 16 * 1_024;
const REASON_CHARS = 200;
/** Metadata is a map in a map; a little more does no harm. */
const YAML_DEPTH = 8;

/** What the reader of YAML says, in words that help. */
const WORDS: readonly (readonly [begin: string, words: string])[] = [
  ["bad indentation of a mapping", "put a value that has a colon in it into quotes"],
  ["deficient indentation", "a quote or a bracket is not closed"],
  ["aliases exceeded", "aliases (*name) are not taken here"],
  ["nesting exceeded", "it nests too deep"],
];

/**
 * Reads the text of a SKILL.md that lies in a folder of this name.
 * @throws Error, one line that says what is wrong and what to do
 */
export function readSkill(text: string, folder: string): SkillText {
  const { yaml, body } = split(text.replace(/^\uFEFF/, ""));
  const fields = parse(yaml);
  const name = required(fields, "name", NAME_CHARS);
  if (!NAME.test(name)) {
    throw new Error(
      `name: ${JSON.stringify(name)} must be lower-case letters, digits and single hyphens between them`,
    );
  }
  if (name !== folder)
    throw new Error(`name: "${name}" is not the name of its folder: rename one of the two`);
  const description = required(fields, "description", DESCRIPTION_CHARS);
  const license = optional(fields, "license", LICENSE_CHARS);
  const compatibility = optional(fields, "compatibility", COMPATIBILITY_CHARS);
  const metadata = fields.get("metadata");
  if (metadata !== undefined && !isMap(metadata))
    throw new Error("metadata: it must be a map, of text by name");
  const allowed_tools = toolsOf(fields.get("allowed-tools"));
  return {
    name,
    description,
    ...(license !== null && { license }),
    ...(compatibility !== null && { compatibility }),
    ...(metadata !== undefined && { metadata }),
    ...(allowed_tools !== null && { allowed_tools }),
    body,
  };
}

function split(text: string): { yaml: string; body: string } {
  const opening = /^---[ \t]*\r?\n/.exec(text);
  if (opening === null) {
    throw new Error('SKILL.md must begin with a line "---", then name and description, then another "---"');
  }
  const rest = text.slice(opening[0].length);
  const closing = /^---[ \t]*(?:\r?\n|$)/m.exec(rest.slice(0, FRONT_MATTER_CHARS));
  if (closing === null) {
    const long = rest.length > FRONT_MATTER_CHARS ? ` within ${FRONT_MATTER_CHARS} characters` : "";
    throw new Error(`the front matter has no end${long}: add a line "---" after it`);
  }
  return { yaml: rest.slice(0, closing.index), body: rest.slice(closing.index + closing[0].length).trim() };
}

/** Every scalar stays the text it was written as: a version 1.0 is no number, and `yes` no truth. */
function parse(yaml: string): Map<string, unknown> {
  if (yaml.trim() === "") throw new Error("the front matter is empty: it needs name and description");
  let value: unknown;
  try {
    value = load(yaml, { schema: FAILSAFE_SCHEMA, maxDepth: YAML_DEPTH, maxAliases: 0 });
  } catch (error) {
    throw new Error(`the front matter is no YAML${whatIsWrong(error)}`, { cause: error });
  }
  if (!isMap(value)) throw new Error('the front matter must be "key: value" lines');
  return new Map(Object.entries(value));
}

function whatIsWrong(error: unknown): string {
  if (!(error instanceof YAMLException)) return "";
  // The line in the file: "---" comes before.
  const line = error.mark === undefined ? "" : ` at line ${error.mark.line + 2}`;
  const [, words] = WORDS.find(([begin]) => error.reason.startsWith(begin)) ?? [];
  // It may quote what the file says.
  return `${line}: ${words ?? error.reason.slice(0, REASON_CHARS).replaceAll(/\p{Cc}/gu, "\uFFFD")}`;
}

function required(fields: Map<string, unknown>, key: string, most: number): string {
  const value = optional(fields, key, most);
  if (value === null) throw new Error(`${key}: it is missing`);
  return value;
}

/** Null: it is not there. */
function optional(fields: Map<string, unknown>, key: string, most: number): string | null {
  const value = fields.get(key);
  if (value === undefined) return null;
  if (typeof value !== "string") throw new Error(`${key}: it must be text`);
  const text = value.trim();
  if (text === "") throw new Error(`${key}: it is empty`);
  const length = text.length > most ? [...text].length : text.length;
  if (length > most) throw new Error(`${key}: it has ${length} characters, at most ${most} are allowed`);
  return text;
}

/** Names apart by spaces (or commas), each perhaps with what it is limited to in parentheses; or a list of such. */
function toolsOf(value: unknown): string[] | null {
  if (value === undefined) return null;
  const tools = typeof value === "string" ? (value.match(/[^\s,()]+(?:\([^()]*\))?/g) ?? []) : value;
  if (!Array.isArray(tools) || !tools.every((tool) => typeof tool === "string")) {
    throw new Error("allowed-tools: it must be names of tools, apart by spaces");
  }
  if (tools.length > TOOLS)
    throw new Error(`allowed-tools: it has ${tools.length} names, at most ${TOOLS} are allowed`);
  return tools;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
