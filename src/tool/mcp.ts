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
  /** Returns at once: the tools appear as their servers do. Names are used once. */
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
  let servers: McpServer[] = [];
  // A process that ends without a stop takes those it started with it.
  const kill = (): void => servers.forEach((server) => server.kill());

  return {
    tools: () => servers.flatMap((server) => server.tools()),
    states: () => servers.map((server) => server.state()),
    start(settings) {
      if (settings.length === 0) return;
      process.once("exit", kill);
      servers = settings.map((each) => {
        const own = log.child({ server: each.name });
        const connect = (events: SessionEvents): Promise<ServerSession> =>
          openSession(each, options, own, events);
        return new McpServer({ name: each.name, connect, mask: maskOf(each), clock, log: own });
      });
      for (const server of servers) server.start();
    },
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
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
