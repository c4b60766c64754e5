import { newId } from "../core/id.ts";
import type { Journal } from "../core/journal.ts";
import type { RowChange } from "../core/operation.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { CredentialChange, IssuedToken, Principal, TokenGrant, TokenView } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Book } from "./book.ts";
import type { TokenEntry } from "./entry.ts";
import { changing, isChanging, tokenRecord, TOKENS, viewToken } from "./entry.ts";
import { lastUse, LastUses } from "./last-use.ts";
import { OWNER } from "./owner.ts";
import { expandScopes, grantedBy } from "./scopes.ts";
import { digestOf, newSecret } from "./secret.ts";
import { tokenFile, writeTokenFile } from "./token-file.ts";

const MAX_TOKENS = 10_000;

export interface TokensOptions {
  readonly book: Book;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the local token's secret stands. */
  readonly data_dir: string;
  /** The node that has this directory, among those that share the store; "": none does. Known once the store is open. */
  readonly place: () => string;
}

/** The tokens in the book: made, rotated, revoked; the local one, and the last use of each. */
export class Tokens {
  readonly #options: TokensOptions;
  readonly #uses: LastUses<TokenEntry>;

  constructor(options: TokensOptions) {
    this.#options = options;
    this.#uses = new LastUses(options, tokenRecord);
  }

  /** Oldest first. */
  list(): TokenView[] {
    return this.#all()
      .toSorted((a, b) => a.created_at - b.created_at)
      .map(viewToken);
  }

  create(by: Principal, grant: TokenGrant): CredentialChange<IssuedToken> {
    const { book, clock, log } = this.#options;
    const scopes = grantedBy(by, grant.role, grant.scopes);
    book.requireOpen(grant.user ?? by.user);
    if (this.#all().length >= MAX_TOKENS) {
      throw new GatewayError("CONFLICT", `full: there are ${MAX_TOKENS} tokens already; revoke some first`, {
        details: { kind: "full" },
        limit: { what: "tokens", limit: MAX_TOKENS },
      });
    }
    const { name, user = by.user, expires_in_secs } = grant;
    const expires_at = expires_in_secs === undefined ? null : clock.now() + expires_in_secs * 1_000;
    const { secret, entry } = this.#make({ name, user, scopes, expires_at, local: false, place: "" });
    return {
      id: entry.id,
      rows: [{ kind: "record.put", record: tokenRecord(entry) }],
      commit: () => {
        book.add(entry);
        log.info({ token_id: entry.id, user, by: by.user }, "a token was made");
        return { token: secret, ...viewToken(entry) };
      },
      undo: () => undefined,
    };
  }

  rotate(token_id: string): CredentialChange<IssuedToken> {
    const { book, log } = this.#options;
    const old = this.#find(token_id);
    if (old === null) {
      throw new GatewayError("NOT_FOUND", "no such token: token.list names them", {
        details: { kind: "token" },
      });
    }
    const { name, local, place, created_at } = old;
    const { user, scopes, expires_at } = old.principal;
    const { secret, entry } = this.#make({
      id: token_id,
      created_at,
      name,
      user,
      scopes,
      expires_at,
      local,
      place,
    });
    const rows = [{ kind: "record.put", record: tokenRecord(entry), over: old.stored }] as const;
    return changing(old, rows, () => {
      book.end(token_id);
      book.add(entry);
      if (this.isHere(old)) this.#rewriteFile(secret);
      log.info({ token_id, user }, "a token was rotated");
      return { token: secret, ...viewToken(entry) };
    });
  }

  revoke(token_id: string): CredentialChange<void> | null {
    const { book, log } = this.#options;
    const old = this.#find(token_id);
    if (old === null) return null;
    const rows: RowChange[] = [{ kind: "record.drop", collection: TOKENS, id: token_id }];
    // The commands on this machine never lack a token: the local one is replaced, with a new id and secret. Another
    // node does so for its own.
    const next = this.isHere(old) ? this.#make(this.#local()) : null;
    if (next !== null) rows.push({ kind: "record.put", record: tokenRecord(next.entry) });
    return changing(old, rows, () => {
      book.end(token_id);
      if (next !== null) {
        book.add(next.entry);
        this.#rewriteFile(next.secret);
      }
      log.info({ token_id, user: old.principal.user }, "a token was revoked");
    });
  }

  /**
   * A new local token in the place of every earlier one of this directory, whose secrets are not where they should be: as with
   * a rotation, what was set up with it goes on.
   */
  async makeLocal(): Promise<string> {
    const { book, data_dir } = this.#options;
    const old = this.#all().filter((each) => this.isHere(each));
    const [before] = old;
    const { secret, entry } = this.#make({
      ...this.#local(),
      ...(before !== undefined && { id: before.id }),
    });
    const rows: RowChange[] = old.map(({ id }) => ({
      kind: "record.drop",
      collection: TOKENS,
      id,
    }));
    rows.push({ kind: "record.put", record: tokenRecord(entry) });
    if (!(await this.#write(rows))) {
      throw new GatewayError(
        "UNAVAILABLE",
        "storage refuses writes (is its disk full, or its server out of reach?): the local token cannot be made",
        {
          details: { kind: "storage" },
        },
      );
    }
    for (const { id } of old) book.end(id);
    book.add(entry);
    writeTokenFile(data_dir, secret);
    return secret;
  }

  /** A request came in with it. */
  used(entry: TokenEntry): void {
    this.#uses.used(entry);
  }

  /** Queues every last use that was not written yet. */
  flush(): void {
    this.#uses.flush(this.#all());
  }

  /** Whether it is the one whose secret stands, or stood, in this data directory. */
  isHere({ local, place }: TokenEntry): boolean {
    return local && place === this.#options.place();
  }

  #local(): NewToken {
    return { ...LOCAL, place: this.#options.place() };
  }

  #all(): TokenEntry[] {
    return [...this.#options.book.entries()].filter((entry) => entry.kind === "token");
  }

  /** @throws GatewayError CONFLICT {kind:"busy"} while a change of it is on its way. */
  #find(token_id: string): TokenEntry | null {
    const entry = this.#options.book.get(token_id);
    if (entry?.kind !== "token") return null;
    if (!entry.changing) return entry;
    throw isChanging("token");
  }

  #make(grant: NewToken): { secret: string; entry: TokenEntry } {
    const now = this.#options.clock.now();
    const { id = newId("tok", now), created_at = now, name, local, place, user, scopes, expires_at } = grant;
    const secret = newSecret("agb_");
    const entry: TokenEntry = {
      kind: "token",
      id,
      digest: digestOf(secret),
      principal: { user, scopes, method: "token", credential: id, expires_at },
      name,
      local,
      place,
      created_at,
      ...lastUse(null),
    };
    entry.stored = tokenRecord(entry).data;
    return { secret, entry };
  }

  /** The change is committed, so a file that cannot follow is only told: the next start makes another token. */
  #rewriteFile(secret: string): void {
    const { data_dir, log } = this.#options;
    try {
      writeTokenFile(data_dir, secret);
    } catch (error) {
      const path = tokenFile(data_dir);
      log.error(
        { path, err: error },
        "the token file could not be written: local commands are refused until a restart",
      );
    }
  }

  /** Resolves whether it was written. */
  #write(rows: readonly RowChange[]): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = ({ ok }: { readonly ok: boolean }): void => resolve(ok);
      this.#options.journal.append({ session: null, run: null, ack: true, events: [], rows, settle });
    });
  }
}

interface NewToken {
  readonly id?: string;
  readonly created_at?: number;
  readonly name: string;
  readonly local: boolean;
  readonly place: string;
  readonly user: string;
  readonly scopes: Principal["scopes"];
  readonly expires_at: number | null;
}

const LOCAL: NewToken = {
  name: "local",
  local: true,
  place: "",
  user: OWNER,
  scopes: expandScopes("admin"),
  expires_at: null,
};
