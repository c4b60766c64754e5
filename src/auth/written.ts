import type { Journal } from "../core/journal.ts";
import type { RecordChange } from "../core/record.ts";
import { GatewayError } from "../protocol/errors.ts";

/** Resolves once it is on disk; "changed": what it is about is not as it was to be. */
export function writeRecord(journal: Journal, row: RecordChange): Promise<"written" | "changed" | "refused"> {
  return new Promise((resolve) => {
    journal.append({
      session: null,
      run: null,
      ack: true,
      events: [],
      rows: [row],
      settle: (outcome) =>
        resolve(outcome.ok ? "written" : outcome.reason === "changed" ? "changed" : "refused"),
    });
  });
}

export function unwritten(): GatewayError {
  return new GatewayError("UNAVAILABLE", "the database takes no writes: try again, or come with a token", {
    details: { kind: "storage" },
    retry_after_ms: 2_000,
  });
}
