import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";
import { explain } from "./explain.ts";
import { connectTo, localTarget, localUrl, readRunning } from "./target.ts";

/** Whether server.port can be listened on, or is our own gateway's. */
export async function checkPort(config: Config): Promise<Finding> {
  const check = "port";
  const { host, port, data_dir } = config.server;
  const running = readRunning(data_dir);
  if (running !== null) return { check, state: "ok", finding: `in use by this gateway (pid ${running.pid})` };
  if (port === 0) return { check, state: "ok", finding: "any free one" };
  const refusal = tryListen(host === "localhost" ? "127.0.0.1" : host, port);
  if (refusal === null) return { check, state: "ok", finding: `${host}:${port} is free` };
  if (refusal === "EADDRINUSE") {
    const other = (await isGateway(localUrl(config)))
      ? "a gateway with another data directory"
      : "another program";
    const advice = `stop it, or set server.port to another number`;
    return { check, state: "failed", finding: `${host}:${port} is in use by ${other}`, advice };
  }
  const advice = "set server.host to an address of this machine and server.port to one this user may take";
  return { check, state: "failed", finding: `cannot listen on ${host}:${port} (${refusal})`, advice };
}

/** How the gateway of this configuration is, where it runs. */
export async function checkRunning(config: Config): Promise<Finding[]> {
  const check = "gateway";
  if (readRunning(config.server.data_dir) === null) {
    return [{ check, state: "ok", finding: "not running; agentbus serve starts it" }];
  }
  try {
    const client = await connectTo(localTarget(config));
    try {
      const { status, storage } = await client.request("system.status", {});
      const finding = `${status} at ${localUrl(config)}, version ${client.hello?.server_info.version}`;
      if (status === "healthy") return [{ check, state: "ok", finding }];
      const why = storage.ok ? "" : `: ${storage.reason ?? "storage refuses"}`;
      return [{ check, state: "warning", finding: `${finding}${why}`, advice: "agentbus status tells more" }];
    } finally {
      client.disconnect();
    }
  } catch (error) {
    return [{ check, state: "failed", finding: explain(error), advice: "its log says why; restart it" }];
  }
}

/** Null, or the code of what the system says against it. */
function tryListen(hostname: string, port: number): string | null {
  try {
    const socket = { data: () => undefined };
    Bun.listen({ hostname, port, exclusive: true, socket }).stop(true);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
  }
}

async function isGateway(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/status`, { signal: AbortSignal.timeout(2_000) });
    return ((await response.json()) as { name?: unknown }).name === "agentbus";
  } catch {
    return false;
  }
}
