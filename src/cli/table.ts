/** What would move the cursor, colour or reorder a terminal: names may come from strangers. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Text as it is safe to show at a terminal. */
export function visible(text: string): string {
  return text.replaceAll(UNSEEN, "\ufffd");
}

/** Rows in columns, under their names. */
export function table(names: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [names, ...rows.map((row) => row.map(visible))];
  const widths = names.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** When something happened, or that it did not. */
export function moment(timestamp: number | undefined): string {
  return timestamp === undefined ? "never" : new Date(timestamp).toISOString();
}
