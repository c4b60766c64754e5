import { ClientError } from "../client/error.ts";
import type { Input } from "./args.ts";
import { EXIT } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { readOpening } from "./running.ts";
import { findGateway } from "./target.ts";
import { resolveTrust, trustingFetch } from "./trust.ts";

const ASK_MS = 5_000;

/**
 * Whether a gateway answers, or is at work to open its database. It takes no credential and none of the connections there may be: one
 * that is full, or degraded, lives. @throws ClientError where nobody answers
 */
export async function tellAlive(input: Input, io: Io): Promise<number> {
  const { url, config, trust } = findGateway(input, io);
  const opens = config === null ? null : readOpening(config.server.data_dir);
  if (opens === null) await askHealth(url, trustingFetch(await resolveTrust(trust, url)));
  if (input.on("json")) outJson(io, { alive: true, ...(opens !== null && { opening: opens }) });
  else io.out(opens === null ? `${url} answers` : `process ${opens.pid} is ${opens.doing}`);
  return EXIT.ok;
}

async function askHealth(url: string, fetch: ReturnType<typeof trustingFetch>): Promise<void> {
  const health = `${url.replace(/^ws/i, "http").replace(/\/+$/, "")}/health`;
  let said: string;
  try {
    const response = await fetch(health, { signal: AbortSignal.timeout(ASK_MS) });
    if (response.ok) return;
    said = String(response.status);
  } catch (error) {
    // It was shown by somebody who answers, and no restart makes it younger.
    if ((error as { code?: unknown }).code === "CERT_HAS_EXPIRED") return;
    said = error instanceof Error ? error.message : String(error);
  }
  throw new ClientError("UNREACHABLE", `no gateway answers at ${health} (${said})`);
}
