/** What the places of a template are filled from. */
export interface TemplateSource {
  /** The parsed body; undefined: it is no JSON. */
  readonly body: unknown;
  /** The body as it came. */
  readonly text: string;
  /** A header, by its name in lower case; null: there is none, or it is nobody's business. */
  readonly header: (name: string) => string | null;
}

export interface Filled {
  readonly text: string;
  /** There was more than fits. */
  readonly isCut: boolean;
}

const PLACE = /\{\{([^{}]{1,256})\}\}/g;
const PLACES = 32;
const STEPS = 16;
/** What one place may hold, UTF-16 code units. */
const VALUE_CHARS = 16_384;
const BODY = "$body";
const HEADER = "$header.";

/** Whether something in it is chosen by what comes. */
export function hasPlaces(template: string): boolean {
  return template.search(PLACE) !== -1;
}

/** What is wrong with a template; null: nothing. */
export function templateFault(template: string): string | null {
  const places = [...template.matchAll(PLACE)].map(([, path = ""]) => path.trim());
  if (places.length > PLACES) return `there are more than ${PLACES} places {{…}}`;
  for (const path of places) {
    if (path.split(".").length > STEPS) return `{{${path}}} goes down more than ${STEPS} steps`;
    const named = path.startsWith("$") && path !== BODY && !/^\$header\.[a-z0-9-]{1,64}$/i.test(path);
    if (named) return `{{${path}}} is neither {{$body}} nor {{$header.NAME}}`;
    if (path.split(".").includes("")) return `{{${path}}} has an empty step: write it like {{a.b.0}}`;
  }
  return null;
}

/**
 * Puts in what the places stand for: texts as they are, everything else as JSON, "" for what is not there. Nothing in what is
 * put in is a place again, and nothing of it is executed.
 */
export function fillTemplate(template: string, source: TemplateSource, max_chars: number): Filled {
  const found = new Map<string, string>();
  let text = "";
  let at = 0;
  let isCut = false;
  for (const { 0: whole, 1: path = "", index } of template.matchAll(PLACE)) {
    const key = path.trim();
    const value = found.get(key) ?? textOf(lookUp(key, source));
    found.set(key, value);
    if (value.length > VALUE_CHARS) isCut = true;
    text += template.slice(at, index) + cut(value, VALUE_CHARS);
    at = index + whole.length;
    if (text.length > max_chars) break;
  }
  text += template.slice(at);
  return { text: cut(text, max_chars), isCut: isCut || text.length > max_chars };
}

function lookUp(path: string, { body, text, header }: TemplateSource): unknown {
  if (path === BODY) return text;
  if (path.startsWith(HEADER)) return header(path.slice(HEADER.length).toLowerCase());
  let value = body;
  for (const step of path.split(".")) {
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, step)) return null;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Never between the halves of a surrogate pair. */
function cut(text: string, max_chars: number): string {
  if (text.length <= max_chars) return text;
  const last = text.charCodeAt(max_chars - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? max_chars - 1 : max_chars);
}
