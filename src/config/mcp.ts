import type { Where } from "./auth.ts";
import { ConfigError } from "./error.ts";
import type { Config } from "./schema.ts";

type Servers = Config["mcp"]["servers"];

/** Each is a process and some of what it takes to talk to it. */
const SERVERS_MAX = 32;
/** What RFC 9110 calls a token. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** @throws ConfigError where a tool server is neither a command nor an address, or both, or can be no such thing. */
export function checkToolServers(servers: Servers, where: Where): void {
  const names = Object.keys(servers);
  if (names.length > SERVERS_MAX) {
    throw new ConfigError(`mcp.servers: there are ${names.length}; ${SERVERS_MAX} are possible`);
  }
  for (const name of names) checkToolServer(`mcp.servers.${name}`, servers[name] as Servers[string], where);
}

function checkToolServer(path: string, server: Servers[string], where: Where): void {
  const { command, args, env, url, headers } = server;
  const fail = (key: string, what: string): never => {
    throw new ConfigError(`${where(`${path}.${key}`)}: ${what}`);
  };
  if (command === "" && url === "") {
    fail("command", "it is missing: say what to start, or where the server is with url");
  }
  if (command !== "" && url !== "") fail("url", "there is a command as well: keep one of them");
  if (url === "" && Object.keys(headers).length > 0) fail("headers", "only a server with a url has headers");
  if (command === "" && args.length > 0) fail("args", "only a server with a command has arguments");
  if (command === "" && Object.keys(env).length > 0) fail("env", "only a server with a command has env");
  if (url !== "" && !isHttp(url)) {
    fail(
      "url",
      "it is no address: write one like https://tools.example.com/mcp, what is secret belongs into headers",
    );
  }
  for (const name of Object.keys(env)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) fail("env", `"${name}" is no name of a variable`);
  }
  for (const [name, value] of Object.entries(headers)) {
    if (!HEADER_NAME.test(name)) fail("headers", `"${name}" is no name of a header`);
    if (/[\r\n\0]/.test(value)) fail("headers", `the value of ${name} has a line break in it`);
  }
}

/** A user and password in an address would be shown wherever it is. */
function isHttp(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
}
