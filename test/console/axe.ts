import type { Page } from "playwright-core";

interface Finding {
  readonly impact: string;
  readonly id: string;
  readonly targets: string;
}

const AXE = await Bun.file(new URL(import.meta.resolve("axe-core/axe.min.js"))).text();

/** What axe finds that is serious or worse. */
export async function findings(page: Page): Promise<Finding[]> {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { violations } = await (window as unknown as { axe: { run(): Promise<Axe> } }).axe.run();
    return violations.map(({ impact, id, nodes }) => ({
      impact,
      id,
      targets: nodes.map(({ html, failureSummary }) => `${html.slice(0, 120)} ${failureSummary}`).join(" | "),
    }));
  });
  return found.filter(({ impact }) => impact === "serious" || impact === "critical");
}
interface Axe {
  readonly violations: {
    readonly impact: string;
    readonly id: string;
    readonly nodes: { readonly html: string; readonly failureSummary: string }[];
  }[];
}
