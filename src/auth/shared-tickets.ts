import type { Journal } from "../core/journal.ts";
import type { Principal } from "../core/principal.ts";
import { TICKETS } from "../core/record.ts";
import { Slots } from "../core/slots.ts";
import type { Store } from "../core/store.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { CredentialBook } from "./credentials.ts";
import { listScopes, storedScopes } from "./scopes.ts";
import { digestOf } from "./secret.ts";
import type { MemoryTickets, Tickets } from "./tickets.ts";
import { unwritten, writeRecord } from "./written.ts";

const FORM = /^agt_[A-Za-z0-9_-]{43}$/;
/** Tickets that are looked for at once, so that a flood of wrong ones leaves room for other reads. */
const LOOKED_FOR = 2;

/** As stored, under the digest of the ticket. */
interface StoredTicket {
  readonly user: string;
  readonly method: Principal["method"];
  readonly scopes: readonly string[];
  readonly credential: string | null;
  /** Of the secret that the credential had. */
  readonly bond: string;
}

export interface SharedTicketsOptions {
  readonly store: Store;
  readonly journal: Journal;
  readonly credentials: CredentialBook;
  /** Bounds how many there are of this node. */
  readonly memory: MemoryTickets;
  readonly caughtUp: () => Promise<void>;
}

/** Tickets that any node takes: records, which go as they are used, so that one of those who show the same is let in. */
export function createSharedTickets(options: SharedTicketsOptions): Tickets {
  const { store, journal, credentials, memory, caughtUp } = options;
  const slots = new Slots(LOOKED_FOR);

  /** Who it admits; null: what it was made with has ended. */
  async function principalOf({ user, method, scopes, credential, bond }: StoredTicket, id: string) {
    if (credential === null) {
      return { user, method, scopes: storedScopes(scopes), credential, expires_at: null } as Principal;
    }
    if (credentials.bond(credential, id) !== bond) await caughtUp();
    if (credentials.bond(credential, id) !== bond) return null;
    return credentials.narrowed(credential, storedScopes(scopes));
  }

  return {
    async issue(principal) {
      const made = memory.issue(principal);
      const id = idOf(made.ticket);
      const { user, method, credential, scopes } = principal;
      const bond = credential === null ? "" : credentials.bond(credential, id);
      if (bond === null) throw new GatewayError("UNAUTHORIZED", "the credential of this request has ended");
      const stored: StoredTicket = { user, method, scopes: listScopes(scopes), credential, bond };
      const record = {
        collection: TICKETS,
        id,
        owner: user,
        data: JSON.stringify(stored),
        expires_at: made.expires_at,
      };
      if ((await writeRecord(journal, { kind: "record.put", record })) !== "written") throw unwritten();
      return made;
    },
    async redeem(ticket) {
      if (!FORM.test(ticket)) return null;
      const id = idOf(ticket);
      const row = await slots.use(() => store.record(TICKETS, id));
      if (row === null) return null;
      memory.redeem(ticket);
      const drop = { kind: "record.drop", collection: TICKETS, id, over: row.data } as const;
      const became = await writeRecord(journal, drop);
      if (became === "refused") throw unwritten();
      if (became === "changed") return null;
      const principal = await principalOf(JSON.parse(row.data) as StoredTicket, id);
      return principal !== null && credentials.isLive(principal) ? principal : null;
    },
  };
}

function idOf(ticket: string): string {
  return digestOf(ticket).toString("hex");
}
