import type { Command, Input } from "./args.ts";
import { VERSION } from "../build.ts";
import { checkDatabase } from "./doctor-database.ts";
import { checkDescriptors } from "./doctor-descriptors.ts";
import { checkDiskSpeed } from "./doctor-disk.ts";
import { checkEnvironment } from "./doctor-environment.ts";
import { checkPorts, checkRunning } from "./doctor-gateway.ts";
import { checkClock, checkProviders } from "./doctor-provider.ts";
import { checkCertificate } from "./doctor-tls.ts";
import { checkDataDir, checkDisk, checkToken, writtenAt } from "./doctor-storage.ts";
import { checkPlugins } from "./doctor-plugins.ts";
import { checkSkills } from "./doctor-skills.ts";
import { checkToolServers } from "./doctor-tools.ts";
import { checkTailscale } from "./doctor-tailscale.ts";
import { CONFIG_OPTIONS } from "./configuration.ts";
import { readLocalConfig } from "./local-config.ts";
import type { Config } from "./configuration.ts";
import { EXIT } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { readRunning } from "./running.ts";

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
  details: [
    "Changes nothing. Exits 1 when something failed; warnings alone exit 0. It asks each provider that can be used for its list of",
    "models once, and nobody else; it reads the database beside the gateway that writes it (up to 1 GiB; --deep: any, and its",
    "indexes), and measures the disk with a file of 80 KiB.",
  ].join("\n"),
  args: [0, 0],
  options: {
    json: { summary: "as JSON" },
    deep: { summary: "read the whole database, which may take minutes" },
    ...CONFIG_OPTIONS,
  },
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
    const loaded = readLocalConfig(input, io);
    config = loaded.config;
    findings.push({ check: "configuration", state: "ok", finding: "valid" });
    for (const warning of loaded.warnings) {
      findings.push({ check: "configuration", state: "warning", finding: warning });
    }
    findings.push(...checkEnvironment(loaded));
  } catch (error) {
    // Every other check needs to know what is configured.
    const advice = "agentbus config check shows the same; agentbus init writes a file that works";
    return [...findings, { check: "configuration", state: "failed", finding: explain(error), advice }];
  }
  findings.push(...(await checkMachine(config, input.on("deep"))), ...checkCertificate(config));
  findings.push(...(await checkPorts(config)), ...(await checkRunning(config)));
  findings.push(...(await checkTailscale(config)), ...(await checkSkills(config, io.cwd)));
  findings.push(...(await checkToolServers(config, io.cwd)), ...(await checkPlugins(config)));
  const { findings: providers, date } = await checkProviders(config.llm);
  findings.push(...providers, checkClock(date, writtenAt(config.server.data_dir)));
  return findings;
}

/** The data directory, and what holds it. */
async function checkMachine(config: Config, deep: boolean): Promise<Finding[]> {
  const { data_dir } = config.server;
  return [
    checkDataDir(data_dir),
    checkToken(data_dir),
    checkDisk(data_dir, config.storage.min_free_bytes),
    ...checkDiskSpeed(data_dir),
    await checkDatabase(config, deep),
    ...checkDescriptors(config, readRunning(data_dir)?.pid ?? null),
  ];
}

function tell({ check, state, finding, advice }: Finding, io: Io): void {
  const mark = { ok: "✓", warning: "!", failed: "✗" }[state];
  io.out(`${mark} ${check.padEnd(14)} ${finding}`);
  if (advice !== undefined) io.out(`${"".padEnd(17)}→ ${advice}`);
}
