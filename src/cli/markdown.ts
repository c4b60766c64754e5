/** What would move the cursor, colour or reorder a terminal, line ends and tabs aside: a model may be told to write it. */
const UNSAFE = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
/** Joins the parts of an emoji, and the letters of some scripts. */
const JOINERS = new Set(["\u200c", "\u200d"]);
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const ITEM = /^\s*(?:[-*+]|\d{1,9}[.)])\s/;
const TAB = "    ";
const ESCAPE = "\u001b";

/** Text of a model as it is safe to show at a terminal. */
export function harmless(text: string): string {
  return text.replaceAll(UNSAFE, (character) => (JOINERS.has(character) ? character : "\ufffd"));
}

/** Lines of a terminal for Markdown that may not be finished. */
export function renderMarkdown(text: string, options: { columns: number; colors?: boolean }): string[] {
  const { columns, colors = false } = options;
  const source = withLineEnds(harmless(text).replaceAll("\t", TAB));
  const lines = withoutDecoded(Bun.markdown.ansi(source, { columns, colors })).split("\n");
  // What ends the last style may stand on a line of its own.
  let rest = "";
  while (lines.length > 0 && Bun.stripANSI(lines.at(-1) ?? "") === "") rest = `${lines.pop() ?? ""}${rest}`;
  return lines.length === 0 ? [] : [...lines.slice(0, -1), `${lines.at(-1) ?? ""}${rest}`];
}

/** References such as &#8238; are characters by now. The escapes are the renderer's own, which decodes none. */
function withoutDecoded(text: string): string {
  const isMeant = (character: string): boolean => character === ESCAPE || JOINERS.has(character);
  return text
    .replaceAll("\t", " ")
    .replaceAll(UNSAFE, (character) => (isMeant(character) ? character : "\ufffd"));
}

/** Line ends within a paragraph are meant: a model writes verses and lists of facts that way. */
function withLineEnds(text: string): string {
  let fence: string | null = null;
  const lines = text.split("\n").map((line) => {
    const inside = fence !== null;
    fence = nextFence(fence, line);
    return inside || fence !== null || line.trim() === "" ? line : `${line}  `;
  });
  return lines.join("\n");
}

/**
 * The blocks of a text, a list being one: what comes later changes only the look of the last one. A fence that is open may go
 * on for ever.
 */
export function blocksOf(text: string): string[] {
  const blocks: string[] = [];
  let from = 0;
  let at = 0;
  let fence: string | null = null;
  /** What the block that is begun is; null: there is none. */
  let kind: "list" | "other" | null = null;
  let isBlank = false;
  for (const line of text.split("\n")) {
    const isEmpty = line.trim() === "";
    if (fence === null && isBlank && !isEmpty && kind !== null && !(kind === "list" && goesOn(line))) {
      blocks.push(text.slice(from, at));
      from = at;
      kind = null;
    }
    if (!isEmpty) kind ??= ITEM.test(line) ? "list" : "other";
    fence = nextFence(fence, line);
    isBlank = isEmpty;
    at += line.length + 1;
  }
  return [...blocks, text.slice(from)];
}

/** Whether a line behind an empty one may still belong to the list before; half an item may become one. */
function goesOn(line: string): boolean {
  return ITEM.test(line) || /^\s/.test(line) || /^(?:[-*+]|\d{1,9}[.)]?)$/.test(line);
}

function nextFence(open: string | null, line: string): string | null {
  const mark = FENCE.exec(line)?.[1];
  if (mark === undefined) return open;
  if (open === null) return mark;
  const closes = mark[0] === open[0] && mark.length >= open.length && line.trim() === mark;
  return closes ? null : open;
}
