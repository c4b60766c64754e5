import { SQL } from "bun";
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A database of its own in the cluster of this process; it is removed with it. */
export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  readonly name: string;
}

/** A PostgreSQL cluster that the tests of this process have for themselves, never the machine's. */
export interface TestCluster {
  readonly port: number;
  readonly folder: string;
  url(database: string): string;
  database(): Promise<TestDatabase>;
  /** Of the server's first process. */
  pid(): number;
  /** Ends it as `pg_ctl stop` does, and resolves when it is gone. */
  stop(how: "fast" | "immediate"): Promise<void>;
  start(): Promise<void>;
}

const SETTINGS: Readonly<Record<string, string>> = {
  fsync: "off",
  full_page_writes: "off",
  max_connections: "200",
  shared_buffers: "64MB",
  max_wal_size: "256MB",
  log_min_messages: "fatal",
};

/** The folder of its programs; null, with a word on how to get it, where it is not here. With CI=true that is a failure. */
function programs(): string | null {
  const versions = existsSync("/usr/lib/postgresql") ? readdirSync("/usr/lib/postgresql") : [];
  const newest = versions.toSorted((a, b) => Number(b) - Number(a))[0];
  const folders = newest === undefined ? [] : [`/usr/lib/postgresql/${newest}/bin`];
  const initdb = Bun.which("initdb");
  if (initdb !== null) folders.push(join(initdb, ".."));
  const found = folders.find((folder) => existsSync(join(folder, "initdb")));
  if (found !== undefined) return found;
  const missing = "skipped: needs PostgreSQL, apt-get install postgresql";
  if (Bun.env["CI"] === "true") throw new Error(missing);
  console.log(missing);
  return null;
}

const BIN = programs();
/** Whether tests that need PostgreSQL can run. */
export const hasPostgres = BIN !== null;

let cluster: Promise<TestCluster> | null = null;

/** The one of this process, started when it is first asked for, with `more` settings; it ends with the process, however that ends. */
export function testCluster(more: Readonly<Record<string, string>> = {}): Promise<TestCluster> {
  cluster ??= startCluster(more);
  return cluster;
}

/** In the cluster of this process, or on the server of AGENTBUS_TEST_POSTGRES (postgres://postgres@HOST:PORT), which many may share. */
export async function testDatabase(): Promise<TestDatabase> {
  const server = Bun.env["AGENTBUS_TEST_POSTGRES"] ?? "";
  if (server === "") return (await testCluster()).database();
  const url = (database: string): string => `${server}/${database}`;
  remote ??= new SQL(url("postgres"), { max: 1 });
  return freshDatabase(remote, url);
}
let remote: SQL | null = null;

const emptied: TestDatabase[] = [];

/** As testDatabase, quicker: tables may be there from before, and are empty. Nobody is connected to it any more at the end. */
export async function emptyDatabase(): Promise<TestDatabase> {
  const database = emptied.pop() ?? (await testDatabase());
  return {
    ...database,
    async [Symbol.asyncDispose]() {
      const sql = new SQL(database.url, { max: 1 });
      const tables: { name: string }[] = await sql.unsafe(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'agentbus'",
      );
      const wipes = tables.map(({ name }) =>
        name === "agentbus.meta" ? `DELETE FROM ${name} WHERE name <> 'schema'` : `DELETE FROM ${name}`,
      );
      await sql.unsafe(wipes.join(";"));
      await sql.close({ timeout: 1 });
      emptied.push(database);
    },
  };
}

/** Who the server runs as: it refuses to run as root. */
function account(): { readonly uid: number; readonly gid: number } | null {
  if (process.getuid?.() !== 0) return null;
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((each) => each.startsWith("postgres:"));
  const [, , uid, gid] = line?.split(":") ?? [];
  if (uid === undefined || gid === undefined)
    throw new Error("PostgreSQL is installed without its user postgres");
  return { uid: Number(uid), gid: Number(gid) };
}

function asServer(command: readonly string[]): string[] {
  const who = account();
  if (who === null) return [...command];
  return ["setpriv", "--reuid", String(who.uid), "--regid", String(who.gid), "--clear-groups", ...command];
}

/** A server that ends at once when this process is gone, however it went, and its folder with it: then its standard input ends. */
const TIED =
  'exec 3<&0; "$@" 3<&- </dev/null & pid=$!; echo $pid; (cat <&3 >/dev/null; kill -QUIT $pid 2>/dev/null && sleep 1 && rm -rf "$PWD") & wait $pid';

async function startCluster(more: Readonly<Record<string, string>>): Promise<TestCluster> {
  if (BIN === null) throw new Error("there is no PostgreSQL here");
  const folder = mkdtempSync(join(tmpdir(), "agentbus-pg-"));
  const who = account();
  if (who !== null) chownSync(folder, who.uid, who.gid);
  const data = join(folder, "data");
  const made = Bun.spawnSync(
    asServer([
      join(BIN, "initdb"),
      "-D",
      data,
      "-U",
      "postgres",
      "--auth=trust",
      "--locale=C",
      "-E",
      "UTF8",
      "--no-sync",
    ]),
    { cwd: folder, stdout: "ignore", stderr: "pipe" },
  );
  if (!made.success) throw new Error(`initdb failed: ${made.stderr.toString()}`);
  const port = freePort();
  const settings = Object.entries({
    ...SETTINGS,
    ...more,
    port: String(port),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: folder,
  }).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  let server: Bun.Subprocess<"pipe", "pipe", "ignore"> | null = null;
  let pid = -1;
  const url = (database: string): string => `postgres://postgres@127.0.0.1:${port}/${database}`;
  const start = async (): Promise<void> => {
    const command = asServer([join(BIN, "postgres"), "-D", data, ...settings]);
    server = Bun.spawn(["sh", "-c", TIED, "sh", ...command], {
      cwd: folder,
      stdin: "pipe",
      stdout: "pipe",
      stderr: "ignore",
    });
    server.unref();
    const first = await server.stdout.getReader().read();
    pid = Number(new TextDecoder().decode(first.value));
    await answers(url("postgres"));
  };
  await start();
  process.once("exit", () => {
    stopNow(pid);
    rmSync(folder, { recursive: true, force: true });
  });
  const admin = new SQL(url("postgres"), { max: 1 });
  return {
    port,
    folder,
    url,
    database: () => freshDatabase(admin, url),
    pid: () => pid,
    start,
    async stop(how) {
      process.kill(pid, how === "fast" ? "SIGINT" : "SIGQUIT");
      await server?.exited;
    },
  };
}

function stopNow(pid: number): void {
  try {
    process.kill(pid, "SIGQUIT");
  } catch {
    // It was stopped by its test.
  }
}

async function freshDatabase(admin: SQL, url: (database: string) => string): Promise<TestDatabase> {
  const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  await admin.unsafe(`CREATE DATABASE ${name} TEMPLATE template0`);
  return {
    name,
    url: url(name),
    async [Symbol.asyncDispose]() {
      await admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  const { port } = probe;
  probe.stop(true);
  return port;
}

async function answers(url: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    const sql = new SQL(url, { max: 1, connectionTimeout: 5 });
    try {
      await sql.unsafe("SELECT 1");
      return;
    } catch (error) {
      if (tries > 300) throw error;
      await Bun.sleep(50);
    } finally {
      await sql.close({ timeout: 0 });
    }
  }
}
