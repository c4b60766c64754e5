import type { ClientError, ClientErrorCode } from "./error.ts";
import { ConnectionError, GatewayError } from "./error.ts";
import type { LinkEnd } from "./link.ts";
import { comesBack } from "./reconnect.ts";

/** What a close code says of an established connection, where it says more than that it is over. */
const MEANING: Readonly<Record<number, ClientErrorCode>> = {
  1009: "TOO_LARGE",
  4000: "INVALID_REQUEST",
  4001: "UNAUTHORIZED",
  4003: "FORBIDDEN",
};

/** What the end of a link says to whoever used it. */
export function whyLost(url: string, { code, reason, refusal, was_ready }: LinkEnd): ClientError {
  if (refusal !== null) return refusal;
  const why = reason === "" ? `close code ${code}` : reason;
  if (!was_ready) return new ConnectionError("UNREACHABLE", `no gateway answers at ${url} (${why})`);
  const closed = `the gateway closed the connection (${why})`;
  const meaning = MEANING[code] ?? "CLOSED";
  if (meaning === "CLOSED") return new ConnectionError("CLOSED", closed, comesBack(code));
  return new GatewayError(meaning, closed);
}
