/** What is said of an answer that is none. */
const NO_RESULT = "the tool server answered with something that is no result";

/**
 * The result of a call as a model is told it: text as it is, data as JSON, and of everything else what it is.
 * @throws Error with the text where the tool says that it failed
 */
export function resultText(result: unknown): string {
  if (!isRecord(result)) throw new Error(NO_RESULT);
  const { content, structuredContent, isError } = result;
  if (content !== undefined && !Array.isArray(content)) throw new Error(NO_RESULT);
  const blocks: unknown[] = content ?? [];
  const texts = blocks.map(blockText);
  // A server that sends data sends it as text as well, for those that do not know data.
  const hasText = blocks.some((block) => isRecord(block) && block["type"] === "text");
  if (structuredContent !== undefined && !hasText) texts.push(JSON.stringify(structuredContent) ?? "");
  const text = texts.filter((each) => each !== "").join("\n");
  if (isError === true) throw new Error(text === "" ? "the tool failed and does not say why" : text);
  return text;
}

function blockText(block: unknown): string {
  if (!isRecord(block)) return "";
  const { type, text, data, resource } = block;
  if (type === "text") return typeof text === "string" ? text : "";
  if (type === "resource" && isRecord(resource)) return resourceText(resource);
  if (type === "resource_link") return line("link", block["name"], block["uri"], block["mimeType"]);
  return line(type, block["mimeType"], size(data));
}

function resourceText(resource: Readonly<Record<string, unknown>>): string {
  const { uri, mimeType, text, blob } = resource;
  const head = line("resource", uri, mimeType, size(blob));
  return typeof text === "string" ? `${head}\n${text}` : head;
}

/** How much base64 stands for, in words. */
function size(base64: unknown): string | undefined {
  if (typeof base64 !== "string") return undefined;
  return `${Math.floor((base64.length * 3) / 4)} bytes, not shown`;
}

const WORD_CHARS = 500;

function line(...words: readonly unknown[]): string {
  const said = words.filter((word) => typeof word === "string" && word !== "") as string[];
  return `[${said.map((word) => word.slice(0, WORD_CHARS).replaceAll(/\s+/g, " ")).join(" ")}]`;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
