import type { DeviceGrant, DeviceView, Devices, PairingGrant, PairingView } from "../core/devices.ts";
import type { Journal } from "../core/journal.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { CredentialChange, Principal } from "../core/principal.ts";
import type { Store } from "../core/store.ts";
import { wellFormed } from "../core/text.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";
import type { Book } from "./book.ts";
import { deviceIdOf, readKey } from "./device-proof.ts";
import type { DeviceEntry } from "./entry.ts";
import { changing, deviceFrom, deviceRecord, DEVICES, isChanging, viewDevice } from "./entry.ts";
import { lastUse, LastUses } from "./last-use.ts";
import type { Pairing } from "./pairing.ts";
import { grantedBy } from "./scopes.ts";

const MAX_DEVICES = 10_000;
const NAME_CHARS = 64;
const DIGEST_BYTES = 32;
/** Ids that are made from keys: nobody can choose one that another device would go by. */
const MADE = /^[0-9a-f]{64}$/;

export interface DeviceBookOptions {
  readonly book: Book;
  readonly pairing: Pairing;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Logger;
}

interface NewDevice {
  readonly id: string;
  readonly key: Buffer;
  readonly name: string;
  readonly user: string;
  readonly scopes: ReadonlySet<Scope>;
}

/** The devices in the book: admitted by key or by code, renamed, revoked, and the last use of each. */
export class DeviceBook implements Devices {
  readonly #options: DeviceBookOptions;
  readonly #uses: LastUses<DeviceEntry>;
  /** Ids and keys of devices whose admission is being written. */
  readonly #coming = new Set<string>();

  constructor(options: DeviceBookOptions) {
    this.#options = options;
    this.#uses = new LastUses(options, deviceRecord);
  }

  /** Once, after the store was opened and before any login that a device made is looked at. */
  async start(store: Store): Promise<void> {
    if (store.cluster !== undefined) this.#options.pairing.follow(store.cluster);
    for (const row of await store.records(DEVICES)) this.#options.book.add(deviceFrom(row));
  }

  /** The device that has this very key, under the id it is called by: its own, or the one every key has. */
  find(device_id: string, key: Buffer): DeviceEntry | undefined {
    const entry = this.#options.book.device(key);
    return entry !== undefined && (entry.id === device_id || deviceIdOf(key) === device_id)
      ? entry
      : undefined;
  }

  /** Who a device is when it asks for these scopes: none means all it was granted. Counts as a use of it. */
  enter(entry: DeviceEntry, asked: ReadonlySet<Scope> | null): Principal {
    this.#uses.used(entry);
    return asked === null ? entry.principal : this.#options.book.narrow(entry.principal, asked);
  }

  devices(): DeviceView[] {
    return this.#all()
      .toSorted((a, b) => a.created_at - b.created_at)
      .map(viewDevice);
  }

  pairingRequests(): PairingView[] {
    return this.#options.pairing.list();
  }

  registerDevice(by: Principal, grant: DeviceGrant): CredentialChange<DeviceView> {
    const key = readKey(grant.public_key);
    if (key === null) {
      throw invalid("public_key", "public_key is no Ed25519 key: 32 bytes in base64url without padding");
    }
    const own = deviceIdOf(key);
    const { device_id: id = own, name = "", user } = grant;
    if (id !== own && MADE.test(id)) {
      throw invalid("device_id", "device_id is that of another key: leave it out, or choose a name");
    }
    const scopes = grantedBy(by, undefined, grant.scopes);
    return this.#admit(by, { id, key, name, user, scopes }, () => this.#options.pairing.drop(own));
  }

  approveDevice(by: Principal, grant: PairingGrant): CredentialChange<DeviceView> {
    const { pairing } = this.#options;
    const { code, role, scopes: said, user = by.user } = grant;
    if (role === undefined && said === undefined) {
      throw invalid("scopes", "say what the device may do: scopes, a role or both");
    }
    const scopes = grantedBy(by, role, said);
    const asking = pairing.take(code, by.user);
    const { device_id: id, key, client_name } = asking;
    const { name = client_name.slice(0, NAME_CHARS) } = grant;
    try {
      const change = this.#admit(by, { id, key, name, user, scopes }, () => pairing.drop(id));
      return {
        ...change,
        undo: () => {
          change.undo();
          pairing.release(asking);
        },
      };
    } catch (error) {
      pairing.release(asking);
      throw error;
    }
  }

  rejectDevice(by: Principal, code: string): string {
    const { pairing, log } = this.#options;
    const asking = pairing.take(code, by.user);
    pairing.reject(asking);
    log.info({ device_id: asking.device_id, by: by.user }, "a device was refused");
    return asking.device_id;
  }

  revokeDevice(device_id: string): CredentialChange<void> | null {
    const { book, log } = this.#options;
    const entry = this.#find(device_id);
    if (entry === null) return null;
    const rows = [{ kind: "record.drop", collection: DEVICES, id: entry.id }] as const;
    return changing(entry, rows, () => {
      book.end(entry.id);
      log.info({ device_id: entry.id, user: entry.principal.user }, "a device was revoked");
    });
  }

  renameDevice(device_id: string, said: string): CredentialChange<DeviceView> {
    const name = wellFormed(said);
    const entry = this.#find(device_id);
    if (entry === null) {
      throw new GatewayError("NOT_FOUND", "no such device: device.list names them", {
        details: { kind: "device" },
      });
    }
    const record = deviceRecord({ ...entry, name });
    const rows = [{ kind: "record.put", record, over: entry.stored }] as const;
    return changing(entry, rows, () => {
      entry.name = name;
      entry.stored = record.data;
      entry.changing = false;
      return viewDevice(entry);
    });
  }

  /** Queues every last use that was not written yet. */
  flush(): void {
    this.#uses.flush(this.#all());
  }

  /** `then` runs with the commit. @throws GatewayError */
  #admit(by: Principal, device: NewDevice, then: () => void): CredentialChange<DeviceView> {
    const { book, clock, log } = this.#options;
    const { id, key, name, user, scopes } = device;
    if (user !== by.user && !by.scopes.has("admin")) throw notYours();
    book.requireOpen(user);
    const reserved = [id, deviceIdOf(key)];
    if (book.has(id) || book.device(key) !== undefined || reserved.some((each) => this.#coming.has(each))) {
      throw new GatewayError(
        "CONFLICT",
        "a device with this key or id is there already: device.list has it",
        {
          details: { kind: "exists" },
        },
      );
    }
    if (this.#all().length + this.#coming.size >= MAX_DEVICES) throw full();
    for (const each of reserved) this.#coming.add(each);
    const release = (): void => reserved.forEach((each) => this.#coming.delete(each));
    const entry: DeviceEntry = {
      kind: "device",
      id,
      digest: Buffer.from(crypto.getRandomValues(new Uint8Array(DIGEST_BYTES))),
      principal: { user, scopes, method: "device", credential: id, expires_at: null },
      key,
      name: wellFormed(name),
      created_at: clock.now(),
      ...lastUse(null),
    };
    const record = deviceRecord(entry);
    entry.stored = record.data;
    return {
      id,
      // Another node may be admitting it, too.
      rows: [{ kind: "record.put", record, over: null }],
      commit: () => {
        release();
        then();
        book.add(entry);
        log.info({ device_id: id, user, by: by.user }, "a device was admitted");
        return viewDevice(entry);
      },
      undo: release,
    };
  }

  #all(): DeviceEntry[] {
    return [...this.#options.book.entries()].filter((entry) => entry.kind === "device");
  }

  /** @throws GatewayError CONFLICT {kind:"busy"} while a change of it is on its way */
  #find(device_id: string): DeviceEntry | null {
    const entry = this.#options.book.get(device_id);
    if (entry?.kind !== "device") return null;
    if (entry.changing) throw isChanging("device");
    return entry;
  }
}

function notYours(): GatewayError {
  return new GatewayError("FORBIDDEN", "a device of another user needs the scope admin", {
    details: { kind: "scope", scope: "admin" },
  });
}

function full(): GatewayError {
  return new GatewayError("CONFLICT", `full: there are ${MAX_DEVICES} devices already; revoke some first`, {
    details: { kind: "full" },
    limit: { what: "devices", limit: MAX_DEVICES },
  });
}

function invalid(path: string, message: string): GatewayError {
  return new GatewayError("INVALID_REQUEST", message, { details: { kind: "schema", path }, http: 422 });
}
