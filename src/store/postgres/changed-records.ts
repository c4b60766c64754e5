import type { RecordKey } from "../../core/cluster.ts";
import { UNTOLD } from "../../core/record.ts";
import type { Queries } from "./queries.ts";

/** Told within the transaction that changes records, so that who hears of one finds it as it is then. */
export const RECORDS_CHANNEL = "agentbus_records";
/** A notification has 8,000 bytes at the most. */
const AT_ONCE_BYTES = 7_000;
/** More than these are not named: who hears of it reads all again. */
const NAMED = 500;

/** Records that one transaction puts or drops. */
export class ChangedRecords {
  readonly #boot: string;
  readonly #keys = new Map<string, RecordKey>();

  constructor(boot: string) {
    this.#boot = boot;
  }

  /** Also where the operation fails afterwards: to look once too often does no harm. */
  add(collection: string, id: string): void {
    if (UNTOLD.has(collection)) return;
    this.#keys.set(JSON.stringify([collection, id]), { collection, id });
  }

  /** What other nodes are told, as it is sent. */
  messages(): string[] {
    if (this.#keys.size > NAMED) return [messageOf(this.#boot, null)];
    const messages: string[] = [];
    let some: RecordKey[] = [];
    let bytes = 0;
    for (const [text, key] of this.#keys) {
      const size = Buffer.byteLength(text) + 1;
      if (size > AT_ONCE_BYTES) return [messageOf(this.#boot, null)];
      if (bytes + size > AT_ONCE_BYTES) {
        messages.push(messageOf(this.#boot, some));
        some = [];
        bytes = 0;
      }
      some.push(key);
      bytes += size;
    }
    if (some.length > 0) messages.push(messageOf(this.#boot, some));
    return messages;
  }

  /** The last statements of the transaction. */
  async flush(q: Queries): Promise<void> {
    const messages = this.messages();
    this.#keys.clear();
    await Promise.all(
      messages.map((text) => q.all("SELECT pg_notify($1::text, $2::text)", [RECORDS_CHANNEL, text])),
    );
  }
}

function messageOf(boot: string, keys: readonly RecordKey[] | null): string {
  const pairs = keys?.map(({ collection, id }) => [collection, id]) ?? null;
  return JSON.stringify({ boot, records: pairs });
}
