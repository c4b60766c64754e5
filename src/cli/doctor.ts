import type { Command, Input } from "./args.ts";
import { VERSION } from "../build.ts";
import { checkBackups } from "./doctor-backup.ts";
import { checkDatabase } from "./doctor-database.ts";
import { checkDescriptors } from "./doctor-descriptors.ts";
import { checkDiskSpeed } from "./doctor-disk.ts";
import { checkEnvironment } from "./doctor-environment.ts";
import { checkPorts, checkRunning } from "./doctor-gateway.ts";
import { checkClock, checkProviders } from "./doctor-provider.ts";
import { checkRights } from "./doctor-rights.ts";
import { checkSecrets } from "./doctor-secrets.ts";
import { serviceOf } from "./doctor-unit.ts";
import { checkCertificate } from "./doctor-tls.ts";
import { checkDataDir, checkDisk, checkToken, writtenAt } from "./doctor-storage.ts";
import { checkPlugins } from "./doctor-plugins.ts";
import { checkSkills } from "./doctor-skills.ts";
import { checkToolServers } from "./doctor-tools.ts";
import { checkTailscale } from "./doctor-tailscale.ts";
import { CONFIG_OPTIONS } from "./configuration.ts";
import { readLocalConfig } from "./local-config.ts";
import type { LocalConfig } from "./local-config.ts";
import { EXIT } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { readRunning } from "./running.ts";
import type { ServicePlace } from "./service-place.ts";
import type { ServiceUser } from "./service-user.ts";
import { serviceUser } from "./service-user.ts";
import { visible } from "./table.ts";

interface Found {
  readonly check: string;
  /** Lines after the first are what somebody else said. */
  readonly finding: string;
}

interface Fine extends Found {
  readonly state: "ok";
  readonly advice?: never;
}

interface Trouble extends Found {
  readonly state: "warning" | "failed";
  /** What to do about it. */
  readonly advice: string;
}

/** What a check found. */
export type Finding = Fine | Trouble;

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
  let loaded: LocalConfig;
  try {
    loaded = readLocalConfig(input, io);
    findings.push({ check: "configuration", state: "ok", finding: "valid" });
    for (const finding of loaded.warnings) {
      const advice = `change it in ${loaded.file ?? "the environment"}, unless it is meant so`;
      findings.push({ check: "configuration", state: "warning", finding, advice });
    }
    findings.push(...checkEnvironment(loaded));
  } catch (error) {
    // Every other check needs to know what is configured.
    const advice =
      "mend it, which agentbus config check tries, and start the gateway; agentbus init writes a file that works";
    return [...findings, { check: "configuration", state: "failed", finding: explain(error), advice }];
  }
  const { config } = loaded;
  const place = serviceOf(loaded, io);
  const user = place?.kind === "systemd" ? serviceUser() : null;
  findings.push(...(await checkMachine(loaded, place, user, input.on("deep"))), ...checkCertificate(config));
  findings.push(...(await checkPorts(config, user)), ...(await checkRunning(config, place, io)));
  const cwd = place?.kind === "systemd" ? place.data_dir : io.cwd;
  findings.push(...(await checkTailscale(config)), ...(await checkSkills(config, cwd)));
  findings.push(...(await checkToolServers(config, cwd)), ...(await checkPlugins(config)));
  const { findings: providers, date } = await checkProviders(config.llm);
  findings.push(...providers, checkClock(date, writtenAt(config.server.data_dir)));
  return findings;
}

/** The data directory, what holds it, and what whoever runs the gateway may do there. */
async function checkMachine(
  loaded: LocalConfig,
  place: ServicePlace | null,
  user: ServiceUser | null,
  deep: boolean,
): Promise<Finding[]> {
  const { config } = loaded;
  const { data_dir } = config.server;
  // Another one, by which this data directory was named, is none of the service's.
  const files = loaded.file === place?.config ? loaded.files : [];
  const running = readRunning(data_dir);
  return [
    checkDataDir(data_dir, user),
    checkToken(data_dir),
    ...(user === null ? [] : checkRights({ config, files }, user)),
    checkDisk(data_dir, config.storage.min_free_bytes),
    ...checkDiskSpeed(data_dir),
    await checkDatabase(config, deep),
    ...checkSecrets(config),
    ...checkBackups(config, place?.kind === "systemd"),
    // A service has the limit of its unit, and not that of this shell.
    ...(place !== null && running === null ? [] : checkDescriptors(config, running?.pid ?? null)),
  ];
}

function tell({ check, state, finding, advice }: Finding, io: Io): void {
  const mark = { ok: "✓", warning: "!", failed: "✗" }[state];
  const space = "".padEnd(17);
  const lines = finding.split("\n").map(visible);
  io.out(`${mark} ${check.padEnd(14)} ${lines.join(`\n${space}`)}`);
  if (advice !== undefined) io.out(`${space}→ ${visible(advice)}`);
}
