import { wellFormed } from "../core/text.ts";
import { NotSent } from "./mcp-link.ts";
import type { Mask } from "./mcp-mask.ts";

const REASON_CHARS = 300;
const UNKNOWN = "whether the call had an effect is unknown";

/** The HTTP status in the place of an answer; undefined: it failed otherwise. */
export function statusOf(error: unknown): number | undefined {
  const { status } = error as { readonly status?: unknown };
  return typeof status === "number" ? status : undefined;
}

/** Why a tool server cannot be used, in one line without anything it was given to prove itself with. */
export function reasonOf(error: unknown, mask: Mask): string {
  const status = statusOf(error);
  if (status === 401 || status === 403)
    return `it refuses the credentials (HTTP ${status}): check its headers`;
  if (status === 404) return "there is no tool server at its url (HTTP 404)";
  if (status !== undefined) return `it answers HTTP ${status}`;
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  if (code === "CONNECTION_CLOSED") return "it ended before it answered";
  if (code === "REQUEST_TIMEOUT") return "it did not answer in time";
  if (code === "CLIENT_HTTP_UNEXPECTED_CONTENT") return "it answers with something that is no tool server's";
  const text = wellFormed(typeof message === "string" ? message : String(error));
  // Masked before it is cut: the beginning of a secret is one as well.
  return mask(text.replaceAll(/\s+/g, " ")).slice(0, REASON_CHARS);
}

/** What a model is told of a call that has no result. */
export function callFailure(server: string, error: unknown, mask: Mask): string {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  // The server answered: these are its words.
  if (typeof code === "number" && typeof message === "string") return mask(message);
  const reason = `the tool server ${server}: ${reasonOf(error, mask)}`;
  const status = statusOf(error);
  const isRefused = status !== undefined && status >= 400 && status < 500;
  return error instanceof NotSent || isRefused
    ? `${reason}; the tool was not called`
    : `${reason}; ${UNKNOWN}`;
}
