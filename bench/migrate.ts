import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { hasPostgres, testCluster } from "../test/support/postgres.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { writeDatabase } from "./support/migrate-load.ts";

/** What `agentbus migrate --json` says, as far as it is looked at. */
interface Moved {
  readonly rows: number;
  readonly bytes: number;
  readonly copy_seconds: number;
  readonly verify_seconds: number;
}

const MIB = 1024 ** 2;

/** A database of 50 MiB to a PostgreSQL server of this machine that keeps what it commits, and back, by the command. */
export async function migrate(bench: Bench): Promise<Figure[]> {
  if (!hasPostgres) return [];
  const cluster = await testCluster({ fsync: "on", full_page_writes: "on" });
  await using database = await cluster.database();
  const data_dir = bench.directory();
  writeDatabase(data_dir, bench.pick(500, 50), bench.pick(5, 1));
  const there = await move(bench, data_dir, database.url, ["--from", "sqlite", "--to", "postgres"]);
  for (const rest of ["", "-wal", "-shm"]) {
    const name = join(data_dir, `agentbus.db${rest}`);
    if (existsSync(name)) renameSync(name, join(data_dir, `old.db${rest}`));
  }
  const back = await move(bench, data_dir, database.url, ["--from", "postgres", "--to", "sqlite"]);
  return [figure("SQLite to PostgreSQL", there), figure("PostgreSQL to SQLite", back)];
}

async function move(bench: Bench, data_dir: string, url: string, argv: readonly string[]) {
  const command = [...bench.command, "migrate", ...argv, "--json", "--data-dir", data_dir];
  const env = { PATH: Bun.env["PATH"] ?? "", HOME: data_dir, AGENTBUS_STORAGE_URL: url };
  const child = Bun.spawn(command, {
    cwd: data_dir,
    env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const [said, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  if (code !== 0) throw new Error(`agentbus migrate ended with ${code}`);
  const used = child.resourceUsage();
  const cpu_seconds = Number(used?.cpuTime.total ?? 0) / 1_000_000;
  return { ...(JSON.parse(said) as Moved), peak: used?.maxRSS ?? 0, cpu_seconds };
}

function figure(what: string, moved: Awaited<ReturnType<typeof move>>): Figure {
  const { rows, bytes, copy_seconds, verify_seconds, peak, cpu_seconds } = moved;
  const rate = (seconds: number): string =>
    `${(bytes / MIB / seconds).toFixed(1)} MiB/s, ${Math.round(rows / seconds).toLocaleString("en-US")} rows/s`;
  return {
    what: `migrate, ${what}, ${Math.round(bytes / MIB)} MiB in ${rows.toLocaleString("en-US")} rows: copied`,
    figure: rate(copy_seconds),
    against: `compared with ${rate(verify_seconds)}; ${cpu_seconds.toFixed(1)} s of a processor in all, resident memory at most ${Math.round(peak / MIB)} MiB`,
    data: { ...moved },
  };
}
