import type { Config } from "./config.ts";

/** What to listen on: server.host:port, both loopback addresses for "localhost", and gateway.bind where it is another. */
export function listenersOf(config: Config): { host: string; port: number }[] {
  const { host, port } = config.server;
  const hosts = host === "localhost" ? ["127.0.0.1", "::1"] : [host];
  const listeners = hosts.map((each) => ({ host: each, port }));
  const { bind } = config.gateway;
  if (bind === "") return listeners;
  const colon = bind.lastIndexOf(":");
  const second = { host: bind.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(bind.slice(colon + 1)) };
  const everywhere = host === "0.0.0.0" || host === "::";
  const covered = second.port === port && port !== 0 && (everywhere || hosts.includes(second.host));
  return covered ? listeners : [...listeners, second];
}
