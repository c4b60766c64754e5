import { CommandError } from "./exit.ts";
import { gatewayFile, readPrivate, writePrivate } from "./gateway-file.ts";
import type { Io } from "./io.ts";
import type { Trust } from "./trust.ts";

const CERTIFICATE = /^-----BEGIN CERTIFICATE-----/m;

/** How a gateway is known that this machine was paired with, where that had to be said then. @throws CommandError */
export function rememberedTrust(url: string, io: Io): Trust {
  const path = gatewayFile(url, io, ".tls.json");
  const text = readPrivate(path, io);
  if (text === null) return {};
  let value: { certificate?: unknown; ca?: unknown } | null;
  try {
    value = JSON.parse(text) as { certificate?: unknown; ca?: unknown } | null;
  } catch {
    value = null;
  }
  const { certificate, ca } = value ?? {};
  if (typeof certificate === "string" && CERTIFICATE.test(certificate))
    return { certificate: () => certificate };
  if (typeof ca === "string" && CERTIFICATE.test(ca)) return { ca };
  throw new CommandError(`${path} holds no certificate: remove it and pair again`);
}

/** Only after the gateway let us in under it. @throws CommandError */
export function rememberTrust(url: string, io: Io, { certificate, ca }: Trust): void {
  const known = certificate === undefined ? { ca } : { certificate: certificate() };
  writePrivate(gatewayFile(url, io, ".tls.json"), `${JSON.stringify(known)}\n`, "anew");
}
