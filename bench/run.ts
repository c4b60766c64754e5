#!/usr/bin/env bun
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { console_page } from "./console.ts";
import { backup } from "./backup.ts";
import { call } from "./call.ts";
import { client } from "./client.ts";
import { cluster } from "./cluster.ts";
import { failover } from "./failover.ts";
import { fanout } from "./fanout.ts";
import { handshakes } from "./handshakes.ts";
import { journal } from "./journal.ts";
import { latency } from "./latency.ts";
import { logins } from "./logins.ts";
import { memory } from "./memory.ts";
import { metrics } from "./metrics.ts";
import { migrate } from "./migrate.ts";
import { plugins } from "./plugins.ts";
import { reconnect } from "./reconnect.ts";
import { replay } from "./replay.ts";
import { search } from "./search.ts";
import { sessions } from "./sessions.ts";
import { skills } from "./skills.ts";
import { start } from "./start.ts";
import { soak } from "./soak.ts";
import { status } from "./status.ts";
import { streams } from "./streams.ts";
import type { Figure, NamedBench } from "./support/bench.ts";
import { openBench } from "./support/context.ts";
import { machineLine } from "./support/machine.ts";
import { table } from "./support/table.ts";
import { tools } from "./tools.ts";
import { tracing } from "./tracing.ts";
import { usage } from "./usage.ts";

const ROOT = join(import.meta.dir, "..");
const EXECUTABLE = join(ROOT, "dist", "agentbus");
/** A bench that takes longer waits for something that will not come. */
const LONGEST_MS = 240_000;

/** In the order of the table: the idle figures first, while nothing is warm. */
const BENCHES: readonly NamedBench[] = [
  { name: "start", run: start },
  { name: "call", run: call },
  { name: "memory", run: memory },
  { name: "status", run: status },
  { name: "metrics", run: metrics },
  { name: "tracing", run: tracing },
  { name: "fanout", run: fanout },
  { name: "latency", run: latency },
  { name: "failover", run: failover },
  { name: "streams", run: streams },
  { name: "journal", run: journal },
  { name: "replay", run: replay },
  { name: "reconnect", run: reconnect },
  { name: "client", run: client },
  { name: "sessions", run: sessions },
  { name: "search", run: search },
  { name: "migrate", run: migrate },
  { name: "backup", run: backup },
  { name: "skills", run: skills },
  { name: "tools", run: tools },
  { name: "usage", run: usage },
  { name: "plugins", run: plugins },
  { name: "console", run: console_page },
  { name: "soak", run: soak },
  { name: "logins", run: logins },
  { name: "handshakes", run: handshakes },
  { name: "cluster", run: cluster },
];

const BOOLEAN = { type: "boolean" } as const;
const USAGE = `bun bench/run.ts [name…] [--quick] [--json] [--minutes N] [--executable FILE]

  name               ${BENCHES.map(({ name }) => name).join(", ")}; without one, all
  --quick            fewer and shorter measurements
  --json             JSON instead of the table, with the numbers behind each line
  --minutes N        how long console and soak go on, to see what is kept
  --executable FILE  measure this one instead of dist/agentbus
`;

async function main(argv: string[]): Promise<number> {
  const options = {
    quick: BOOLEAN,
    json: BOOLEAN,
    help: BOOLEAN,
    minutes: { type: "string" },
    executable: { type: "string" },
  } as const;
  const { values, positionals } = parseArgs({ args: argv, options, allowPositionals: true });
  const unknown = positionals.filter((name) => !BENCHES.some((bench) => bench.name === name));
  if (values.help === true || unknown.length > 0) {
    process.stderr.write(unknown.length > 0 ? `no bench "${unknown[0]}"\n${USAGE}` : USAGE);
    return unknown.length > 0 ? 2 : 0;
  }
  const { executable } = values;
  if (executable === undefined && isStale()) build();
  const minutes = values.minutes === undefined ? null : Number(values.minutes);
  const command = [executable === undefined ? EXECUTABLE : resolve(executable)];
  const machine = describeMachine();
  const chosen = BENCHES.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const figures: Figure[] = [];
  for (const bench of chosen)
    figures.push(...(await measure(bench, { quick: values.quick === true, minutes, command })));
  const line = `bun bench/run.ts ${argv.join(" ")}`.trim();
  if (values.json === true) console.log(JSON.stringify({ machine, command: line, figures }, null, 2));
  else console.log(`${table(figures)}\n\n${machine}\n\n\`${line}\``);
  return figures.some((figure) => figure.broken !== undefined) ? 1 : 0;
}

/** Whether the executable is missing or older than what it is made from. */
function isStale(): boolean {
  if (!existsSync(EXECUTABLE)) return true;
  const built = statSync(EXECUTABLE).mtimeMs;
  const sources = readdirSync(join(ROOT, "src"), { recursive: true, withFileTypes: true });
  return sources.some((each) => each.isFile() && statSync(join(each.parentPath, each.name)).mtimeMs > built);
}

function build(): void {
  process.stderr.write("dist/agentbus is missing or older than src: building it\n");
  const made = Bun.spawnSync([process.execPath, join(ROOT, "scripts", "build.ts")], {
    cwd: ROOT,
    stdout: "ignore",
    stderr: "inherit",
  });
  if (made.exitCode !== 0) throw new Error("the build failed: run bun scripts/build.ts to see why");
}

function describeMachine(): string {
  const directory = mkdtempSync(join(tmpdir(), "agentbus-bench-"));
  const line = machineLine(directory);
  rmSync(directory, { recursive: true });
  return line;
}

/** A bench that fails is a line of the table too, so that the others are still measured. */
async function measure(
  { name, run }: NamedBench,
  options: Parameters<typeof openBench>[0],
): Promise<Figure[]> {
  const began = performance.now();
  process.stderr.write(`${name}\n`);
  await using bench = openBench(options);
  const longest_ms = LONGEST_MS + (options.minutes ?? 0) * 60_000;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`not over after ${longest_ms / 1_000} s`)),
    longest_ms,
  );
  try {
    return await Promise.race([run(bench), late.promise]);
  } catch (error) {
    return [{ what: name, figure: "–", broken: (error as Error).message.replaceAll("\n", " ") }];
  } finally {
    clearTimeout(timer);
    process.stderr.write(`  ${((performance.now() - began) / 1_000).toFixed(1)} s\n`);
  }
}

void main(process.argv.slice(2)).then((code) => process.exit(code));
