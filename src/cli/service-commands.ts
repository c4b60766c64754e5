import { existsSync } from "node:fs";
import type { Command } from "./args.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { agentLog, agentState, installAgent, uninstallAgent } from "./launchd.ts";
import { launchdPlist } from "./launchd-plist.ts";
import { dataDirOf } from "./service-environment.ts";
import { KINDS, installedPlace, servicePlace } from "./service-place.ts";
import type { ServicePlace } from "./service-place.ts";
import { installUnit, logCommand, uninstallUnit, unitState } from "./systemd.ts";
import { SYSTEM, systemdUnit } from "./systemd-unit.ts";

/** Where a program is that the service's user cannot run, or that may be gone with the next start of the machine. */
const PRIVATE = ["home", "root", "tmp", "var/tmp", "run"].map((folder) => `/${folder}/`);

const JSON_OPTION = { json: { summary: "as JSON" } };

export const serviceCommands: readonly Command[] = [
  {
    name: "service install",
    summary: "run the gateway as a service, now and from every start of the machine on",
    usage: "",
    details: [
      "As root on Linux: a hardened unit of systemd with a user of its own, agentbus, which keeps its data in",
      `${SYSTEM.data_dir} and reads ${SYSTEM.config} and, for keys, ${SYSTEM.environment}. It can write backups to`,
      `${SYSTEM.backups}, and to the backup.directory of that configuration where it is another.`,
      "As anybody else: a service of that user, of systemd or, on a Mac, of launchd, with the data directory that user has.",
      "systemd starts it again when it ends by itself, and when it gives no sign of life for a minute. Run this again after an",
      "upgrade or a change of the configuration: it writes what has changed, and restarts it.",
    ].join("\n"),
    args: [0, 0],
    options: {},
    run: async (_input, io) => {
      const place = servicePlace(io);
      const program = ownProgram(place);
      if (place.kind === "launchd") installAgent(place, program, io);
      else installUnit(place, program, io);
      for (const line of afterInstall(place, io)) io.out(line);
      return EXIT.ok;
    },
  },
  {
    name: "service uninstall",
    summary: "stop the service and take it away; its data stays",
    usage: "",
    args: [0, 0],
    options: {},
    run: async (_input, io) => {
      const place = servicePlace(io);
      const data_dir = dataOf(place);
      const was = place.kind === "launchd" ? uninstallAgent(place) : uninstallUnit(place);
      io.out(was ? `stopped, and removed ${place.file}` : `no service is installed (${place.file})`);
      io.out(`the data stays in ${data_dir}, the configuration in ${place.config}`);
      if (place.kind !== "systemd") return EXIT.ok;
      io.out(`and so does the user ${SYSTEM.user}, to whom they belong`);
      if (existsSync(SYSTEM.backups)) io.out(`and so do backups, in ${SYSTEM.backups}`);
      return EXIT.ok;
    },
  },
  {
    name: "service status",
    summary: "whether the service is installed and runs",
    usage: "",
    args: [0, 0],
    options: JSON_OPTION,
    run: async (input, io) => {
      const place = installedPlace(io);
      const state = place.kind === "launchd" ? agentState(place) : unitState(place);
      if (input.on("json")) outJson(io, { ...place, ...state });
      else {
        io.out(`${place.kind} service ${state.installed ? place.file : "(not installed)"}: ${state.state}`);
        if (state.pid !== null) io.out(`  process    ${state.pid}`);
        if (state.restarts !== null) io.out(`  restarts   ${state.restarts}`);
        if (state.says !== "") io.out(`  says       ${state.says}`);
      }
      return state.running ? EXIT.ok : EXIT.failed;
    },
  },
  {
    name: "service print",
    summary: "the unit or property list, for whoever installs it by hand or in an image",
    usage: `[${KINDS.join("|")}]`,
    args: [0, 1],
    options: {
      program: { value: "PATH", summary: "the executable; default: this one" },
      config: { value: "FILE", summary: "the configuration it reads" },
    },
    run: async (input, io) => {
      const [given] = input.args;
      const kind = KINDS.find((each) => each === given);
      if (given !== undefined && kind === undefined)
        throw new UsageError(`"${given}" is none of ${KINDS.join(", ")}`);
      const place = servicePlace(io, kind);
      const program = input.text("program") ?? process.execPath;
      const config = input.text("config") ?? place.config;
      const text =
        place.kind === "launchd"
          ? launchdPlist({ program, config, log: agentLog(io) })
          : systemdUnit({ program, config, scope: place.kind === "systemd" ? "system" : "user" });
      io.write(text);
      return EXIT.ok;
    },
  },
];

/** @throws CommandError where the service could not run it */
function ownProgram({ kind }: ServicePlace): string {
  const program = process.execPath;
  if (!Bun.isStandaloneExecutable)
    throw new CommandError(
      "a service needs the executable: `bun run build`, then `dist/agentbus service install`",
    );
  if (kind === "systemd" && PRIVATE.some((folder) => program.startsWith(folder)))
    throw new CommandError(
      `${program} is no place for a service: \`install -m 0755 ${program} /usr/local/bin/agentbus\`, then run that one`,
    );
  return program;
}

/** Where its data is, whatever was added to the unit. */
function dataOf(place: ServicePlace): string {
  return place.kind === "systemd" ? dataDirOf(place) : place.data_dir;
}

function afterInstall(place: ServicePlace, io: Io): string[] {
  const { kind, config } = place;
  const log = kind === "launchd" ? agentLog(io) : logCommand(place);
  const linger =
    kind === "systemd-user"
      ? [
          "it runs while you are logged in; `loginctl enable-linger` has it run from the start of the machine on",
        ]
      : [];
  return [
    kind === "launchd" ? "started; it starts with every login" : "it runs, and is ready",
    `  configuration  ${config}`,
    `  data           ${dataOf(place)}, with the token in it`,
    `  log            ${log}`,
    `  how it is      agentbus status`,
    ...linger,
  ];
}
