import type { Clock, Logger, ToolSource } from "../core/ports.ts";
import { HttpTransport } from "./mcp-http.ts";
import type { ToolTransport } from "./mcp-link.ts";
import { maskOf } from "./mcp-mask.ts";
import type { SessionEvents } from "./mcp-server.ts";
import { McpServer } from "./mcp-server.ts";
import { ServerSession } from "./mcp-session.ts";
import { StdioTransport } from "./mcp-stdio.ts";

/** A tool server as it is configured: a command that is started, or where one is reached. */
export interface McpServerSettings {
  /** `^[A-Za-z0-9_-]{1,64}$` */
  readonly name: string;
  /** "" for one that is reached at `url`. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface McpOptions {
  readonly version: string;
  /** Of the gateway: servers are given three of its variables, and nothing else. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where commands are started. */
  readonly cwd: string;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface McpServers extends ToolSource {
  /**
   * From here on it is these: returns at once, and the tools appear as their servers do. Of those before, one with the same
   * settings stays as it is, another ends when what was asked of it is answered. Names are used once.
   */
  start(servers: readonly McpServerSettings[]): void;
  /** Resolves when no process that was started is left. */
  stop(): Promise<void>;
}

/** What a program needs to be found and to find its files. On Windows without the first of these nothing starts. */
const INHERITED = ["PATH", "HOME", "LANG"];
const INHERITED_WINDOWS = [
  "SYSTEMROOT",
  "PATHEXT",
  "COMSPEC",
  "TEMP",
  "USERPROFILE",
  "APPDATA",
  "LOCALAPPDATA",
];

/** The tool servers of this gateway, and what they offer. */
export function createMcpServers(options: McpOptions): McpServers {
  const { clock, log } = options;
  /** With what each was made of. */
  let servers = new Map<McpServer, string>();
  /** Those that may still have something to answer. */
  const leaving = new Set<McpServer>();
  // A process that ends without a stop takes those it started with it.
  const kill = (): void => {
    for (const server of [...servers.keys(), ...leaving]) server.kill();
  };
  let isWatching = false;

  function create(settings: McpServerSettings): McpServer {
    if (!isWatching) process.once("exit", kill);
    isWatching = true;
    const own = log.child({ server: settings.name });
    const connect = (events: SessionEvents): Promise<ServerSession> =>
      openSession(settings, options, own, events);
    const server = new McpServer({ name: settings.name, connect, mask: maskOf(settings), clock, log: own });
    server.start();
    return server;
  }

  return {
    tools: () => [...servers.keys()].flatMap((server) => server.tools()),
    states: () => [...servers.keys()].map((server) => server.state()),
    start(settings) {
      const before = new Map(Array.from(servers, ([server, source]) => [source, server]));
      servers = new Map(
        settings.map((each) => {
          const source = JSON.stringify(each);
          const server = before.get(source) ?? create(each);
          before.delete(source);
          return [server, source];
        }),
      );
      for (const server of before.values()) {
        leaving.add(server);
        server.retire();
      }
    },
    async stop() {
      await Promise.all([...servers.keys(), ...leaving].map((server) => server.stop()));
      process.removeListener("exit", kill);
    },
  };
}

async function openSession(
  settings: McpServerSettings,
  options: McpOptions,
  log: Logger,
  events: SessionEvents,
): Promise<ServerSession> {
  // Loaded by the first server: a gateway without any does not pay for it.
  const { Client, StreamableHTTPClientTransport: Http } = await import("@modelcontextprotocol/client");
  const { url, headers, command, args } = settings;
  const { clock, cwd } = options;
  const transport: ToolTransport =
    url === ""
      ? new StdioTransport({
          command,
          args,
          env: environmentOf(settings, options.env),
          mask: maskOf(settings),
          cwd,
          clock,
          log,
        })
      : new HttpTransport({ url, headers, clock, Http });
  const client = new Client({ name: "agentbus", version: options.version });
  return new ServerSession({ client, transport, ...events });
}

function environmentOf(
  { env }: McpServerSettings,
  gateway: McpOptions["env"],
): Readonly<Record<string, string>> {
  const names = process.platform === "win32" ? [...INHERITED, ...INHERITED_WINDOWS] : INHERITED;
  const inherited = names.flatMap((name) => {
    const value = gateway[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(inherited), ...env };
}
