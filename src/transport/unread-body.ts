import type { Limits } from "../core/limits.ts";

/**
 * How much of a body is taken in, that is refused or that nobody reads: a peer that is cut off while it sends may not
 * read why.
 */
export function takenBytes({ body_bytes }: Pick<Limits, "body_bytes">): number {
  return 4 * body_bytes;
}

/**
 * Whether the peer may go on with a body of any length after the answer. Bun takes it in for as long as it comes, so the
 * connection has to end with the answer.
 */
export function leavesBody(request: Request, response: Response, limits: Limits): boolean {
  const { headers } = request;
  const length = headers.get("content-length");
  if (length !== null ? Number(length) <= takenBytes(limits) : !headers.has("transfer-encoding"))
    return false;
  return response.status >= 400 || !request.bodyUsed;
}
