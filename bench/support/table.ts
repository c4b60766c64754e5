import type { Figure } from "./bench.ts";

/** One Markdown table. */
export function table(figures: readonly Figure[]): string {
  const rows = figures.map((each) => [
    each.what,
    each.broken === undefined ? each.figure : `${each.figure} **${each.broken}**`,
    each.against ?? "",
    each.aim ?? "",
    each.held === undefined ? "" : each.held ? "yes" : "no",
  ]);
  const lines = [
    ["what", "figure", "against raw", "aim", "held"],
    ["---", "---", "---", "---", "---"],
    ...rows,
  ];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
