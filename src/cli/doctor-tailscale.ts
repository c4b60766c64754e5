import { tailscaledFailure } from "../access.ts";
import { systemClock } from "../clock.ts";
import { acceptsTailscale } from "../config/tailscale.ts";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";

/** What to do about a reason that tells it; others are those of a socket that is not tailscaled's. */
const ADVICE: Readonly<Record<string, string>> = {
  ENOENT: "start tailscaled, or set auth.tailscale.socket to where its socket is",
  ECONNREFUSED: "start tailscaled: the socket is left over from one that ended",
  EACCES: "let this user open the socket and the directories above it",
  "it answers HTTP 403": "tailscaled does not answer this user: run the gateway as one it does",
};
const ELSE = "set auth.tailscale.socket to the socket of tailscaled, and see its log";

/** Whether tailscaled says who a peer is, where the configuration lets peers in. */
export async function checkTailscale({ auth }: Config): Promise<Finding[]> {
  if (!acceptsTailscale(auth)) return [];
  const check = "tailscale";
  const { socket, users } = auth.tailscale;
  const reason = await tailscaledFailure(socket, systemClock);
  if (reason === null) {
    const finding = `tailscaled answers at ${socket}; logins that come in: ${Object.keys(users).length}`;
    return [{ check, state: "ok", finding }];
  }
  const finding = `no peer comes in by the tailnet: ${socket}: ${reason}`;
  return [{ check, state: "failed", finding, advice: ADVICE[reason] ?? ELSE }];
}
