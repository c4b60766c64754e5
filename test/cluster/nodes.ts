import { SQL } from "bun";
import type { Person } from "../gateway/stack.ts";
import { createPerson, eventually } from "../gateway/stack.ts";
import type { ConfigTable, RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { testDatabase } from "../support/postgres.ts";

/** The shortest lease there may be: others take over what a node had soon after it is gone. */
export const LEASE_SECS = 6;
/** How long that may take on a busy machine. */
export const TAKEOVER_MS = 40_000;

export interface NodesOptions {
  /** Default: 2. */
  readonly count?: number;
  /** Sections of every node's configuration, over those that all have. */
  readonly config?: ConfigTable;
  /** The same for one of them: counted from 0. */
  readonly configOf?: (at: number, database_url: string) => ConfigTable;
  readonly env?: Readonly<Record<string, string>>;
  /** More of it for one of them. */
  readonly envOf?: (at: number) => Readonly<Record<string, string>>;
}

/** One of several gateways on a database, in a process of its own. */
export interface ClusterNode {
  /** "a", "b", …: its cluster.node_id. */
  readonly name: string;
  readonly gateway: RunningGateway;
  readonly url: string;
  readonly ws_url: string;
  /** Of its own data directory: the administrator's. */
  readonly token: string;
  /** Whoever holds that token, at this node. */
  readonly owner: Person;
  /** Somebody with a token, at this node. */
  person(token: string): Person;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number>;
  /** SIGSTOP: it does nothing, and its connections stay. */
  pause(): void;
  resume(): void;
  /** Waits for the end that somebody brought about, and starts the next on the same data directory. */
  restart(): Promise<void>;
}

export interface Nodes extends AsyncDisposable {
  readonly all: readonly ClusterNode[];
  /** The nth. @throws Error where there is none */
  node(at: number): ClusterNode;
  readonly database: TestDatabase;
  /** A connection of the test's own; tables are in the schema agentbus. */
  readonly sql: SQL;
  /** What all of them ask: `test/m`. */
  readonly model: ModelServer;
  /** Starts another one. */
  add(config?: ConfigTable): Promise<ClusterNode>;
}

/** Starts gateways that share a database of their own; they, the database and the model go with the answer. */
export async function startNodes(options: NodesOptions = {}): Promise<Nodes> {
  const stack = new AsyncDisposableStack();
  const { count = 2, config = {}, configOf = () => ({}), env, envOf } = options;
  const database = stack.use(await testDatabase());
  const sql = new SQL(database.url, { max: 1 });
  stack.defer(() => sql.close({ timeout: 1 }));
  const model = await startModelServer();
  stack.defer(() => model.stop());
  const all: ClusterNode[] = [];
  const add = async (own: ConfigTable = {}): Promise<ClusterNode> => {
    const name = String.fromCharCode("a".charCodeAt(0) + all.length);
    const at = all.push(NOT_YET) - 1;
    const common = {
      server: { shutdown_grace_secs: 0 },
      limits: { mutations_per_second: 100_000, mutations_burst: 100_000 },
      storage: { url: database.url, connections: 6 },
      cluster: { lease_secs: LEASE_SECS, node_id: name },
      llm: { default_provider: "test", default_model: "m", providers: { test: { base_url: model.url() } } },
    };
    const gateway = await startGateway({
      config: merged(merged(common, config), own),
      env: { ...env, ...envOf?.(at) },
    });
    // A process that was paused hears no signal but one.
    stack.use({
      async [Symbol.asyncDispose]() {
        resume(gateway);
        await gateway[Symbol.asyncDispose]();
      },
    });
    const node = nodeOf(name, gateway);
    all[at] = node;
    return node;
  };
  try {
    await Promise.all(Array.from({ length: count }, (_, at) => add(configOf(at, database.url))));
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
  return {
    all,
    node(at) {
      const found = all[at];
      if (found === undefined) throw new Error(`there is no node ${at}`);
      return found;
    },
    database,
    sql,
    model,
    add,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Stands for a node that is being started. */
const NOT_YET = { name: "not started" } as ClusterNode;

function nodeOf(name: string, gateway: RunningGateway): ClusterNode {
  return {
    name,
    gateway,
    get url() {
      return gateway.url;
    },
    get ws_url() {
      return gateway.ws_url;
    },
    token: gateway.token,
    owner: createPerson(gateway, gateway.token),
    person: (token) => createPerson(gateway, token),
    async kill() {
      gateway.kill("SIGKILL");
      await gateway.exited;
    },
    async stop() {
      gateway.kill("SIGTERM");
      return gateway.exited;
    },
    pause: () => gateway.kill("SIGSTOP"),
    resume: () => resume(gateway),
    restart: () => gateway.restart(),
  };
}

function resume(gateway: RunningGateway): void {
  gateway.kill("SIGCONT");
}

function merged(under: ConfigTable, over: ConfigTable): ConfigTable {
  const all: Record<string, ConfigTable[string]> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const before = all[key];
    all[key] = isTable(before) && isTable(value) ? merged(before, value) : value;
  }
  return all;
}

function isTable(value: ConfigTable[string] | undefined): value is ConfigTable {
  return typeof value === "object" && !Array.isArray(value);
}

/** Asks until it is so: what is promised within a second may take five on a busy machine. */
export function within<T>(
  read: () => Promise<T> | T,
  passes: (value: T) => boolean,
  promised_ms = 1_000,
): Promise<T> {
  return eventually(read, passes, promised_ms * 5);
}
