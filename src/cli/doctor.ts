import type { Command, Input } from "./args.ts";
import { VERSION } from "../build.ts";
import { checkPort, checkRunning } from "./doctor-gateway.ts";
import { checkClock, checkProviders } from "./doctor-provider.ts";
import { checkCertificate } from "./doctor-tls.ts";
import { checkDataDir, checkDisk, checkToken } from "./doctor-storage.ts";
import { checkPlugins } from "./doctor-plugins.ts";
import { checkSkills } from "./doctor-skills.ts";
import { checkToolServers } from "./doctor-tools.ts";
import { checkTailscale } from "./doctor-tailscale.ts";
import { CONFIG_OPTIONS, readConfig } from "./configuration.ts";
import type { Config } from "./configuration.ts";
import { EXIT } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";

/** What a check found; `advice` says what to do about it. */
export interface Finding {
  readonly check: string;
  readonly state: "ok" | "warning" | "failed";
  readonly finding: string;
  readonly advice?: string;
}

export const doctor: Command = {
  name: "doctor",
  summary: "what stands in the way, and what to do about it",
  usage: "",
  details: "Changes nothing. Exits 1 when something failed; warnings alone exit 0.",
  args: [0, 0],
  options: { json: { summary: "as JSON" }, ...CONFIG_OPTIONS },
  run: async (input, io) => {
    const findings = await examine(input, io);
    const failed = findings.some(({ state }) => state === "failed");
    if (input.on("json")) outJson(io, { ok: !failed, findings });
    else for (const finding of findings) tell(finding, io);
    return failed ? EXIT.failed : EXIT.ok;
  },
};

async function examine(input: Input, io: Io): Promise<Finding[]> {
  const runtime = `agentbus ${VERSION}, Bun ${Bun.version}, ${process.platform}-${process.arch}`;
  const findings: Finding[] = [{ check: "version", state: "ok", finding: runtime }];
  let config: Config;
  try {
    const loaded = readConfig(input, io);
    config = loaded.config;
    findings.push({ check: "configuration", state: "ok", finding: "valid" });
    for (const warning of loaded.warnings) {
      findings.push({ check: "configuration", state: "warning", finding: warning });
    }
  } catch (error) {
    // Every other check needs to know what is configured.
    const advice = "agentbus config check shows the same; agentbus init writes a file that works";
    return [...findings, { check: "configuration", state: "failed", finding: explain(error), advice }];
  }
  const { data_dir } = config.server;
  findings.push(checkDataDir(data_dir), checkToken(data_dir), checkDisk(data_dir));
  findings.push(...checkCertificate(config));
  findings.push(await checkPort(config), ...(await checkRunning(config)));
  findings.push(...(await checkTailscale(config)), ...(await checkSkills(config, io.cwd)));
  findings.push(...(await checkToolServers(config, io.cwd)), ...(await checkPlugins(config)));
  const { findings: providers, date } = await checkProviders(config.llm);
  findings.push(...providers, checkClock(date));
  return findings;
}

function tell({ check, state, finding, advice }: Finding, io: Io): void {
  const mark = { ok: "✓", warning: "!", failed: "✗" }[state];
  io.out(`${mark} ${check.padEnd(14)} ${finding}`);
  if (advice !== undefined) io.out(`${"".padEnd(17)}→ ${advice}`);
}
