import { definePlugin } from "agentbus/plugin";
import type { PluginContext, PluginEvent } from "agentbus/plugin";

/**
 * Tells another server of every run that ends: a POST to WEBHOOK_URL with the event as JSON. With WEBHOOK_SECRET the
 * header X-Signature has `sha256=` and the HMAC of the body, in hexadecimal. Tried three times; the events of one
 * session arrive in their order.
 */

const ATTEMPTS = 3;
const ATTEMPT_MS = 5_000;

const url = process.env["WEBHOOK_URL"];
const secret = process.env["WEBHOOK_SECRET"];

function headersOf(body: string): Record<string, string> {
  const headers = { "content-type": "application/json" };
  if (secret === undefined) return headers;
  const hmac = new Bun.CryptoHasher("sha256", secret).update(body).digest("hex");
  return { ...headers, "x-signature": `sha256=${hmac}` };
}

async function tell(event: PluginEvent, { signal, log }: PluginContext): Promise<void> {
  if (url === undefined) return;
  const body = JSON.stringify(event);
  for (let attempt = 1; attempt <= ATTEMPTS && !signal.aborted; attempt++) {
    const failure = await post(url, body, AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]));
    if (failure === null) return;
    log.warn({ event: event.type, attempt, reason: failure }, "the webhook was not told");
    if (attempt < ATTEMPTS) await Bun.sleep(1_000 * attempt);
  }
}

/** Why it was not taken; null: it was. */
async function post(to: string, body: string, signal: AbortSignal): Promise<string | null> {
  try {
    const { ok, status } = await fetch(to, { method: "POST", headers: headersOf(body), body, signal });
    return ok ? null : `HTTP ${status}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export default definePlugin({
  name: "webhook",
  version: "1.0.0",
  description: "Tells another server of every run that ends.",
  events: { "run.completed": tell, "run.failed": tell, "run.aborted": tell, "run.interrupted": tell },
  setup(_gateway, { log }) {
    if (url === undefined) log.warn({}, "WEBHOOK_URL is not set: nobody is told of anything");
  },
});
