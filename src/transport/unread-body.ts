import type { Limits } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";

/**
 * How much of a body is taken in, that is refused or that nobody reads: a peer that is cut off while it sends may not
 * read why.
 */
export function takenBytes({ body_bytes }: Pick<Limits, "body_bytes">): number {
  return 4 * body_bytes;
}

/** How much of a body may come before anybody reads it, as far as it is taken at all. */
export function awaitedBytes({ headers }: Request, { body_bytes }: Pick<Limits, "body_bytes">): number {
  const length = headers.get("content-length");
  if (length !== null) return Math.min(Number(length), body_bytes);
  return headers.has("transfer-encoding") ? body_bytes : 0;
}

/** What of it is taken in after a refusal, and dropped, and for how long. */
const LINGER_BYTES = 16 * 1024 * 1024;
const LINGER_MS = 2_000;

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

/** Whether who was refused may go on for a moment. In chunks of a byte a body is many times what is counted of it: those may not. */
export function mayLinger(request: Request, response: Response): boolean {
  return response.status >= 400 && !request.bodyUsed && request.headers.has("content-length");
}

/**
 * The same refusal of a body that nobody read: all of it is said at once, and its connection goes on for a moment: a proxy that cannot write any
 * more tells its client 502 in place of what it was answered.
 */
export async function lingering(request: Request, response: Response, clock: Clock): Promise<Response> {
  const said = new Uint8Array(await response.arrayBuffer());
  const over = Promise.withResolvers<void>();
  const cancel = clock.after(LINGER_MS, over.resolve);
  void over.promise.then(cancel);
  void drop(request, over.resolve);
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(said),
    async pull(controller) {
      await over.promise;
      controller.close();
    },
    cancel: over.resolve,
  });
  const { status, headers } = response;
  return new Response(body, { status, headers });
}

/** Reads what comes, and keeps nothing of it. */
async function drop({ body }: Request, ended: () => void): Promise<void> {
  try {
    const reader = body?.getReader();
    for (let bytes = 0; bytes <= LINGER_BYTES;) {
      const next = await reader?.read();
      if (next === undefined || next.done) break;
      bytes += next.value.length;
      // Pieces that are here already would keep everybody else waiting.
      await new Promise((resolve) => setImmediate(resolve));
    }
  } catch {
    // The peer has left, or somebody else reads it.
  }
  ended();
}
