import { existsSync } from "node:fs";
import { day } from "../certificate.ts";
import { selfSignedFiles } from "../self-signed.ts";
import { findCertificate } from "../tls.ts";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";

/** Who renews a certificate a month before its end has not done it by now. */
const LATE_MS = 21 * 86_400_000;

/** Whether the certificate can be used, and for how long; nothing where there is no TLS. */
export function checkCertificate(config: Config): Finding[] {
  const check = "certificate";
  const { server } = config;
  const { mode, cert } = server.tls;
  const own = mode === "auto";
  if (!own && cert === "") return [];
  if (own && !existsSync(selfSignedFiles(server.data_dir).cert))
    return [{ check, state: "ok", finding: "self-signed; made at the first start" }];
  try {
    const { fingerprint, expires_at } = findCertificate(config, Date.now());
    const finding = `valid until ${day(expires_at)}, SHA-256 ${fingerprint}`;
    if (own || expires_at - Date.now() > LATE_MS) return [{ check, state: "ok", finding }];
    const advice = "renew it: new files in the place of these are used without a restart";
    return [{ check, state: "warning", finding, advice }];
  } catch (error) {
    const advice = own
      ? "remove the directory tls from the data directory: the next start makes another certificate"
      : "put right files in their place (server.tls): one that runs uses them at once, and until then the last good ones; none starts without";
    return [{ check, state: "failed", finding: (error as Error).message, advice }];
  }
}
