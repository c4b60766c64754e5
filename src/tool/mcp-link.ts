import type { Transport } from "@modelcontextprotocol/client";

/** A way to a tool server, used once: after its end another one is made. */
export interface ToolTransport extends Transport {
  /** Why it ended or cannot be used, in words for a person; null while nothing is known. */
  readonly trouble: string | null;
  /** Ends what it started at once and without waiting: the process is about to end. Idempotent. */
  kill(): void;
}

/** A message did not reach the server: whatever it asks for has not been done. */
export class NotSent extends Error {}
