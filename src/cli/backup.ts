import { join } from "node:path";
import type { RestoredBackup } from "../backup.ts";
import { systemClock } from "../clock.ts";
import type { Command, Input } from "./args.ts";
import { CONFIG_OPTIONS } from "./configuration.ts";
import { readLocalConfig, readStoppedConfig } from "./local-config.ts";
import { counted } from "./counted.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { question } from "./prompt.ts";

const MIB = 1024 ** 2;
const JSON_OPTION = { json: { summary: "what was done as JSON" } };

export const backup: Command = {
  name: "backup",
  summary: "a copy of everything the gateway keeps, while it runs",
  usage: "FILE|DIRECTORY",
  details: [
    "The copy is of one moment, read through, and whole before it gets its name. In a DIRECTORY it is named by the time.",
    "Every night, and a week of them (crontab; a gateway makes them by itself where backup.directory says where):",
    "  0 3 * * *  agentbus backup /srv/backups --keep 7",
  ].join("\n"),
  args: [1, 1],
  options: {
    keep: { value: "N", summary: "of the backups in the DIRECTORY only the newest N stay" },
    ...JSON_OPTION,
    ...CONFIG_OPTIONS,
  },
  run: async (input, io) => {
    const { config } = readLocalConfig(input, io);
    const { createBackup } = await import("../backup.ts");
    const began = performance.now();
    const made = await createBackup(config, input.args[0] ?? "", systemClock, keepOf(input));
    const seconds = (performance.now() - began) / 1_000;
    if (input.on("json")) outJson(io, { ...made, seconds });
    else {
      const { file, bytes, sessions, messages, removed } = made;
      io.out(
        `${file}: ${counted(sessions, "session")}, ${counted(messages, "message")}, ${(bytes / MIB).toFixed(1)} MiB, ${seconds.toFixed(1)} s`,
      );
      for (const old of removed) io.out(`removed ${old}`);
    }
    return EXIT.ok;
  },
};

export const restore: Command = {
  name: "restore",
  summary: "puts a backup in place of what the gateway keeps; it must not run",
  usage: "FILE",
  details: [
    "What was there before is kept beside it. Clients that come back start from a snapshot: nothing they read since the backup is",
    "mistaken for what is there now. Tokens, users and devices are those of the backup. What it does not have is in docs/data.md.",
  ].join("\n"),
  args: [1, 1],
  options: {
    "without-automation": {
      summary: "schedules, webhooks and hooks of the backup are off: for a trial beside the gateway it is of",
    },
    yes: { short: "y", summary: "do not ask" },
    ...JSON_OPTION,
    ...CONFIG_OPTIONS,
  },
  run: async (input, io) => {
    const { config } = readStoppedConfig(input, io);
    const file = input.args[0] ?? "";
    if (!input.on("yes")) await confirm(`put ${file} in place of what is in ${config.server.data_dir}?`, io);
    const { restoreBackup } = await import("../backup.ts");
    const isOff = input.on("without-automation");
    const done = await restoreBackup(config, file, isOff, Date.now());
    if (input.on("json")) outJson(io, done);
    else {
      io.out(
        `restored ${counted(done.sessions, "session")} with ${counted(done.messages, "message")} into ${config.server.data_dir}`,
      );
      if (done.kept !== null) io.out(`what was there before is ${done.kept}`);
      if (isOff) tellOff(done, io);
    }
    if (!isOff) warnOfActive(done, io);
    warnOfLocked(done, config.server.data_dir, io);
    return EXIT.ok;
  },
};

function tellOff({ active }: RestoredBackup, io: Io): void {
  const off = listed({ ...active });
  if (off === "") return;
  io.out(`turned off: ${off}; agentbus schedule, webhook or hook update NAME --enable turns one on again`);
}

/** It happens without anybody asking for it, on a machine that may be there for a trial. */
function warnOfActive({ active: { schedules, webhooks } }: RestoredBackup, io: Io): void {
  const on = listed({ schedules, webhooks });
  if (on === "") return;
  io.err(`warning: ${on} will go on here when the gateway starts: for a trial, restore --without-automation`);
}

function warnOfLocked({ locked }: RestoredBackup, data_dir: string, io: Io): void {
  const shut = listed(locked);
  if (shut === "") return;
  io.err(
    `warning: hooks take nothing and webhooks deliver nothing without their secrets, and those of ${shut} cannot be opened: they were sealed ` +
      `with another key than that of ${data_dir}, and no backup has it. Before the gateway starts, copy secrets.key from the data directory ` +
      `that was backed up to ${join(data_dir, "secrets.key")}; where it is lost, make new secrets (agentbus hook rotate, agentbus webhook rotate)`,
  );
}

/** `2 schedules, 1 webhook`; "": there is none. */
function listed(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => counted(count, kind.slice(0, -1)))
    .join(", ");
}

export const repair: Command = {
  name: "repair",
  summary: "saves what can be read of a damaged database; the gateway must not run",
  usage: "",
  details: [
    "What can be read goes into a new database, and the damaged one is kept beside it. A backup is the better way where there is a new one:",
    "agentbus restore. Events that could be replayed are gone, messages that can be read are there; clients start from a snapshot.",
  ].join("\n"),
  args: [0, 0],
  options: { yes: { short: "y", summary: "do not ask" }, ...JSON_OPTION, ...CONFIG_OPTIONS },
  run: async (input, io) => {
    const { config } = readStoppedConfig(input, io);
    if (!input.on("yes"))
      await confirm(`put what can be read in place of what is in ${config.server.data_dir}?`, io);
    const { repairDatabase } = await import("../backup.ts");
    const done = await repairDatabase(config, Date.now());
    if (input.on("json")) outJson(io, done);
    else {
      for (const { table, rows, whole } of done.tables)
        io.out(`${table}: ${rows} rows${whole ? "" : ", not all of them"}`);
      io.out(`the damaged database is ${done.kept}`);
    }
    return EXIT.ok;
  },
};

/** @throws UsageError where nobody can be asked, CommandError for anything but yes */
async function confirm(what: string, io: Io): Promise<void> {
  if (!io.tty || io.stdin.isTTY !== true)
    throw new UsageError("this asks first: say --yes where nobody can answer");
  const answer = await question(`${what} [y/N]`);
  if (!/^y(?:es)?$/i.test(answer)) throw new CommandError("nothing was changed");
}

function keepOf(input: Input): number | null {
  const text = input.text("keep");
  if (text === undefined) return null;
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new UsageError(`--keep takes a number above 0, not "${text}"`);
  return Number(text);
}
