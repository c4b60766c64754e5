const graphemes = new Intl.Segmenter();

/** Rows of a terminal that a line takes. What is two columns wide goes to the next row where only one is left. */
export function rowsOf(line: string, columns: number): number {
  const text = Bun.stripANSI(line);
  if (Bun.stringWidth(text) <= columns) return 1;
  let rows = 1;
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    const width = Bun.stringWidth(segment);
    if (used + width > columns) {
      rows++;
      used = 0;
    }
    used += width;
  }
  return rows;
}
