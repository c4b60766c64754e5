import { statSync } from "node:fs";
import type { Finding } from "./doctor.ts";
import { staleKeys } from "./service-environment.ts";
import { SYSTEM } from "./systemd-unit.ts";

const CHECK = "environment";

/**
 * Whether nobody else reads the environment file of the service, and the one that runs has what it says by now, as everything else is looked
 * at with that; nothing for any other gateway.
 */
export function checkEnvironment({ isService }: { readonly isService: boolean }): Finding[] {
  const { environment } = SYSTEM;
  const mode = isService ? statSync(environment, { throwIfNoEntry: false })?.mode : undefined;
  if (mode === undefined) return [];
  const findings: Finding[] = [];
  if ((mode & 0o007) !== 0) {
    const advice = `chmod 600 ${environment}; if others might have read a key in it, replace that`;
    findings.push({ check: CHECK, state: "warning", finding: `others can read ${environment}`, advice });
  }
  const stale = staleKeys();
  if (stale.length > 0) {
    const finding = `the gateway that runs does not have what ${environment} says of ${stale.join(", ")}`;
    const advice = "systemctl restart agentbus: the file is read at a start";
    findings.push({ check: CHECK, state: "warning", finding, advice });
  }
  return findings;
}
