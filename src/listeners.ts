import { networkInterfaces } from "node:os";
import type { Config } from "./config.ts";

export interface ListenAt {
  readonly host: string;
  readonly port: number;
  /** The option that says so, for the error when the port is taken. */
  readonly option: string;
}

/** What to listen on: server.host:port, both loopback addresses for "localhost", and gateway.bind where it is another. */
export function listenersOf(config: Config): ListenAt[] {
  const { host, port } = config.server;
  const hosts = host === "localhost" ? loopbacks(port) : [host];
  const listeners = hosts.map((each) => ({ host: each, port, option: "server.port" }));
  const { bind } = config.gateway;
  if (bind === "") return listeners;
  const colon = bind.lastIndexOf(":");
  const name = bind.slice(0, colon).replace(/^\[|\]$/g, "");
  const second = { host: name === "localhost" ? "127.0.0.1" : name, port: Number(bind.slice(colon + 1)) };
  const everywhere = host === "0.0.0.0" || host === "::";
  const covered = second.port === port && port !== 0 && (everywhere || hosts.includes(second.host));
  return covered ? listeners : [...listeners, { ...second, option: "gateway.bind" }];
}

/** By which addresses other machines reach what listens on every interface; none where it does not. */
export function outsideAddresses(host: string): string[] {
  if (host !== "0.0.0.0" && host !== "::") return [];
  const outside = Object.values(networkInterfaces()).flatMap(
    (all) => all?.filter((each) => !each.internal) ?? [],
  );
  return outside.filter(({ family }) => family === "IPv4").map(({ address }) => address);
}

/** 127.0.0.1, and ::1 where this machine has it; a port that is picked would be another one for each. */
function loopbacks(port: number): string[] {
  const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
    all?.some(({ address }) => address === "::1"),
  );
  return port !== 0 && hasIpv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"];
}
