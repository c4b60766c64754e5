import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Migrated, MigrationProgress } from "../migrate.ts";
import type { Command, Input } from "./args.ts";
import type { Config } from "./configuration.ts";
import { CONFIG_OPTIONS } from "./configuration.ts";
import { readStoppedConfig } from "./local-config.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { table } from "./table.ts";

const MIB = 1024 ** 2;
/** How often a line that counts is written anew, ms. */
const SHOWN_EVERY_MS = 200;
const COUNT = new Intl.NumberFormat("en-US");

export const migrate: Command = {
  name: "migrate",
  summary: "moves everything the gateway keeps from SQLite to PostgreSQL, or back; it must not run",
  usage: "--from PLACE --to PLACE",
  details: [
    "A PLACE is sqlite (the database in server.data_dir), postgres (that of storage.url) or an address, postgres://USER@HOST/NAME. One with a",
    "password comes from a file, or from storage.url, its url_file or AGENTBUS_STORAGE_URL: others see what is on a command line.",
    "",
    "The source is only read. What was copied is read again and compared with it; a gateway opens the copy only after that. A run that",
    "was cut short goes on where it stopped when it is called again. Ids, tokens, files and settings stay what they are; every session gets",
    "a new epoch, so that clients start from a snapshot. Keep server.data_dir: the key of the hooks' secrets is in it.",
    "",
    "  agentbus migrate --from sqlite --to-file database-url",
    "  AGENTBUS_STORAGE_URL=postgres://… agentbus migrate --from postgres --to sqlite",
  ].join("\n"),
  args: [0, 0],
  options: {
    from: { value: "sqlite|postgres", summary: "where everything is: one of these, or an address" },
    to: { value: "sqlite|postgres", summary: "where it is to be, in which nothing may be yet" },
    "from-file": { value: "FILE", summary: "the address it comes from is in this file" },
    "to-file": { value: "FILE", summary: "the address it goes to is in this file" },
    restart: { summary: "throw away what a run that was cut short has copied, and begin anew" },
    json: { summary: "what was copied and verified as JSON" },
    ...CONFIG_OPTIONS,
  },
  run: async (input, io) => {
    const { config } = readStoppedConfig(input, io);
    const [from, to] = [placeOf("from", input, io, config), placeOf("to", input, io, config)];
    const database = from ?? to;
    if (database === null || (from !== null && to !== null))
      throw new UsageError("one of --from and --to is sqlite, the other a database of PostgreSQL");
    const shows = io.tty && !input.on("json");
    const { migrateGateway } = await import("../migrate.ts");
    const done = await migrateGateway(config, {
      ...database,
      from: from === null ? "sqlite" : "postgres",
      restart: input.on("restart"),
      onProgress: shows ? createProgress(io) : () => undefined,
    });
    const next = nextStep(config, to);
    if (input.on("json")) outJson(io, { ...done, next });
    else report(done, next, io);
    return EXIT.ok;
  },
};

interface Database {
  readonly url: string;
  /** What errors call the address. */
  readonly named: string;
}

/** Null: SQLite in the data directory. @throws UsageError, which has no address in it */
function placeOf(which: "from" | "to", input: Input, io: Io, { storage }: Config): Database | null {
  const said = input.text(which);
  const file = input.text(`${which}-file`);
  if (file !== undefined) {
    if (said !== undefined) throw new UsageError(`say --${which} or --${which}-file, not both`);
    return { url: addressIn(resolve(io.cwd, file)), named: `--${which}-file` };
  }
  const named = `--${which}`;
  if (said === undefined)
    throw new UsageError(
      `migrate needs ${named}: sqlite, postgres, or an address; ${named}-file names a file with one`,
    );
  if (said === "sqlite") return null;
  if (said === "postgres") {
    if (storage.url === "")
      throw new UsageError(
        `${named} postgres is the database of storage.url, which is empty: set that or AGENTBUS_STORAGE_URL, or say ${named}-file FILE`,
      );
    return { url: storage.url, named: "storage.url" };
  }
  if (URL.parse(said)?.password !== "" && URL.canParse(said))
    throw new UsageError(
      `others see a password on the command line: put the address into a file and say ${named}-file FILE, or into storage.url and say ${named} postgres`,
    );
  return { url: said, named };
}

function addressIn(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (cause) {
    throw new CommandError(`cannot read ${path}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`);
  }
}

/** What the configuration has to say before the gateway is started. */
function nextStep({ storage, server }: Config, to: Database | null): string {
  const start = "start the gateway: it has the search look through everything anew, which takes a while";
  if (to === null) {
    const change =
      storage.url === "" ? "" : "leave storage.url empty (and storage.url_file, AGENTBUS_STORAGE_URL), and ";
    return `${change}${start}. What is in PostgreSQL stays as it is: drop its schema agentbus when it is not needed any more`;
  }
  const change =
    storage.url === to.url
      ? ""
      : "set storage.url to that address (storage.url_file, where it has a password), and ";
  return `${change}${start}. ${server.data_dir}/agentbus.db stays as it is: remove it when it is not needed any more`;
}

/** One line for each table, which counts while it is on its way. */
function createProgress(io: Io): (progress: MigrationProgress) => void {
  let shown_at = 0;
  let counted = "";
  let count: number | null = null;
  return ({ step, table: name, rows, done, count: ask }) => {
    const what = `${step === "copy" ? "copying" : "verifying"} ${name}`;
    if (counted !== what) {
      counted = what;
      count = null;
      void ask()
        .then((all) => (counted === what ? (count = all) : null))
        .catch(() => null);
    }
    const now = performance.now();
    if (!done && now - shown_at < SHOWN_EVERY_MS) return;
    shown_at = now;
    const part = done || count === null || count === 0 ? "" : `, ${Math.floor((100 * rows) / count)} %`;
    io.write(`\r\u001b[K${what}: ${COUNT.format(rows)} rows${part}${done ? "\n" : ""}`);
  };
}

function report(done: Migrated, next: string, io: Io): void {
  const { from, to, resumed_after, rows, bytes, copy_seconds, verify_seconds, tables } = done;
  if (resumed_after !== null)
    io.out(`went on where an earlier run stopped, after ${COUNT.format(resumed_after)} rows`);
  const size = bytes === 0 ? "" : `, ${(bytes / MIB).toFixed(1)} MiB`;
  io.out(`copied ${COUNT.format(rows)} rows${size} in ${copy_seconds.toFixed(1)} s`);
  io.out(`  from ${from}`);
  io.out(`  to   ${to}`);
  io.out(`verified in ${verify_seconds.toFixed(1)} s: both were read and are the same, row by row`);
  const lines = tables.map((each) => [each.table, COUNT.format(each.rows), each.sha256]);
  for (const line of table(["table", "rows", "sha256"], lines)) io.out(`  ${line}`);
  io.out(
    `  ${COUNT.format(done.files)} files have the SHA-256 they are kept under, every session has a new epoch`,
  );
  if (done.damaged_files > 0)
    io.out(
      `  ${COUNT.format(done.damaged_files)} of the files were damaged in the source already, and are as they were`,
    );
  io.out(`Now ${next}.`);
}
