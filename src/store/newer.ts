import { GatewayError } from "../protocol/errors.ts";

/** A database that this program is too old for, UNAVAILABLE. `copies`: where a backup of it may be, as said in the way out. */
export function newerSchema(found: number, known: number, copies = ""): GatewayError {
  return new GatewayError(
    "UNAVAILABLE",
    `the database was written by a newer agentbus (schema ${found}, this one knows ${known}): ` +
      `run that version, or restore a backup made before the upgrade${copies}`,
    { details: { kind: "schema", found, known } },
  );
}
