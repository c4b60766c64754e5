import { expect } from "bun:test";
import { join } from "node:path";
import { agentbus, serve, workplace } from "../support/executable.ts";

export const BASE = '[server]\nport = 0\ndata_dir = "data"\n[llm]\ndefault_provider = "demo"\n';

export interface Finding {
  readonly check: string;
  readonly state: "ok" | "warning" | "failed";
  readonly finding: string;
  readonly advice?: string;
}

/** A place with a configuration and what a gateway left there. */
export function gatewayPlace(toml = BASE) {
  const place = workplace();
  place.file("agentbus.toml", toml);
  const data = join(place.path, "data");
  return {
    ...place,
    data,
    /** Has a gateway run here once. */
    async ran(): Promise<void> {
      await using gateway = await serve(place.path, []);
      gateway.signal("SIGTERM");
      await gateway.exited;
    },
    async doctor(...flags: string[]): Promise<{ code: number; findings: Finding[] }> {
      const { code, out } = await agentbus(["doctor", "--json", ...flags], { cwd: place.path });
      const { findings } = JSON.parse(out) as { findings: Finding[] };
      // Whatever is wrong is told with what to do.
      expect(findings.filter(({ state, advice = "" }) => state !== "ok" && advice === "")).toEqual([]);
      return { code, findings };
    },
    [Symbol.dispose]: () => place[Symbol.dispose](),
  };
}

export function of(findings: readonly Finding[], check: string): Finding | undefined {
  return findings.filter((each) => each.check === check).toSorted(worst)[0];
}

function worst(a: Finding, b: Finding): number {
  const rank = { failed: 0, warning: 1, ok: 2 };
  return rank[a.state] - rank[b.state];
}
