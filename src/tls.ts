import { chmodSync, readFileSync, statSync } from "node:fs";
import type { Certificate, PemFile } from "./certificate.ts";
import { checkAuthority, day, readCertificate } from "./certificate.ts";
import type { Config } from "./config.ts";
import { NamedFileError, configured } from "./config/error.ts";
import { reasonOf } from "./config/layer.ts";
import type { LiveConfig } from "./settings.ts";
import type { Clock, Logger } from "./core/ports.ts";
import { makeSelfSigned, selfSignedFiles } from "./self-signed.ts";

/** How often the files are looked at: a look sees links out of the folder and network drives, which a watch does not. */
const LOOK_MS = 2_000;
const DAY_MS = 86_400_000;
/** So long before its end the gateway's own certificate is made anew. */
const RENEW_MS = 30 * DAY_MS;
/** So long before its end a certificate that others renew is spoken of, once a day. */
const WARN_MS = 7 * DAY_MS;

/** What the listeners speak TLS with. */
export interface Serving extends Certificate {
  /** Who connects needs a certificate of one of these, as PEM; null: nobody is asked for one. */
  readonly client_ca: string | null;
}

/** Null: no TLS. @throws NamedFileError where files that others made cannot be used */
export function createTls({ live, config }: LiveConfig, clock: Clock, log: Logger): Tls | null {
  if (!isTlsOn(config)) return null;
  const tls = new Tls(config, clock, log);
  // The files of a next configuration have to be of use before it counts; the next look serves them.
  live.derive((next) => configured(() => (next === live.now ? null : tls.check(next)), NamedFileError));
  return tls;
}

/** Whether the listeners speak TLS. */
export function isTlsOn({ server }: Config): boolean {
  return server.tls.mode === "auto" || server.tls.cert !== "";
}

/** The certificate of the listeners, and the ones that take its place. */
export class Tls {
  readonly #config: Config;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #own: boolean;
  #serving: Serving | null = null;
  #cancel: (() => void) | null = null;
  #closed = false;
  /** What the last look found wrong: told at the second, since files are written one after the other. */
  #wrong = { what: "", told: false };
  #reminded_at = Number.NEGATIVE_INFINITY;

  constructor(config: Config, clock: Clock, log: Logger) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
    this.#own = config.server.tls.mode === "auto";
    configured(() => this.check(config), NamedFileError);
  }

  /** Whether the files that a configuration names can be used. @throws Error, one line */
  check(config: Config): void {
    if (config.server.tls.mode === "auto") findAuthority(config);
    else this.#refuseWorse(readServing(config), config);
  }

  /** The one to begin with. @throws NamedFileError; the file system's error where one of our own cannot be kept */
  async open(): Promise<Serving> {
    if (this.#own) await this.#keepOwn();
    const serving = configured(() => this.#find(), NamedFileError);
    this.#serving = serving;
    this.#guardKey();
    this.#remind(serving);
    if (serving.valid_from > this.#clock.now()) {
      const from = day(serving.valid_from);
      this.#log.warn({ valid_from: from }, "the certificate is not valid yet: is the clock right?");
    }
    return serving;
  }

  /** Its own key is closed to others; whose the configured one is to read is said by who keeps it. */
  #guardKey(): void {
    const { data_dir, tls } = this.#config.server;
    const path = this.#own ? selfSignedFiles(data_dir).key : tls.key;
    const { mode } = statSync(path);
    if (process.platform === "win32" || (mode & (this.#own ? 0o077 : 0o007)) === 0) return;
    if (this.#own) chmodSync(path, 0o600);
    const now = this.#own
      ? "it is closed to them now; if they might have, remove it and start again"
      : "chmod 600 it";
    this.#log.warn({ path }, `others could read the key of the certificate: ${now}`);
  }

  /** When the one that is served ends; null: none is yet. */
  get expires_at(): number | null {
    return this.#serving?.expires_at ?? null;
  }

  /** Tells of every one that takes its place. What cannot be used is logged, and the last good one stays. */
  watch(changed: (serving: Serving) => void): void {
    this.#cancel = this.#clock.after(LOOK_MS, () => {
      void this.#look(changed).then(() => {
        if (!this.#closed) this.watch(changed);
      });
    });
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  /** Never rejects. */
  async #look(changed: (serving: Serving) => void): Promise<void> {
    try {
      if (this.#own && this.#isEnding()) await makeSelfSigned(this.#config, this.#clock.now());
      const found = this.#find();
      this.#remind(found);
      if (found.cert !== this.#serving?.cert || found.client_ca !== this.#serving.client_ca) {
        changed(found);
        this.#serving = found;
        const { fingerprint, expires_at } = found;
        this.#log.info(
          { fingerprint, expires: day(expires_at) },
          "a new certificate: new connections see it",
        );
      }
      this.#wrong = { what: "", told: false };
    } catch (error) {
      const what = (error as Error).message;
      const again = what === this.#wrong.what;
      if (again && !this.#wrong.told) {
        this.#log.warn({ reason: what }, "the certificate cannot be used: the last one stays");
      }
      this.#wrong = { what, told: again };
    }
  }

  /** Makes one where there is none that will do for a while. */
  async #keepOwn(): Promise<void> {
    try {
      this.#serving = this.#find();
      if (!this.#isEnding()) return;
    } catch {
      // None yet, or half of one.
    }
    await makeSelfSigned(this.#config, this.#clock.now());
  }

  #isEnding(): boolean {
    return this.#serving !== null && this.#serving.expires_at - this.#clock.now() < RENEW_MS;
  }

  #find(): Serving {
    const found = readServing(this.#config);
    this.#refuseWorse(found, this.#config);
    return found;
  }

  /** One that has expired is better than none, and worse than one that has not. @throws Error */
  #refuseWorse(found: Serving, config: Config): void {
    if (this.#serving !== null && this.#serving.expires_at > this.#clock.now())
      refuseExpired(found, config, this.#clock.now());
  }

  #remind({ expires_at }: Serving): void {
    const now = this.#clock.now();
    if (this.#own || expires_at - now > WARN_MS) return;
    const isOverSince = expires_at <= now && this.#reminded_at < expires_at;
    if (!isOverSince && now - this.#reminded_at < DAY_MS) return;
    this.#reminded_at = now;
    const expires = day(expires_at);
    if (expires_at > now) this.#log.warn({ expires }, "the certificate is about to expire: renew it");
    else this.#log.error({ expires }, "the certificate has expired, and clients refuse it: renew it");
  }
}

/** What the files hold, where it can be used now. @throws Error, one line that says which is wrong and what to do */
export function findCertificate(config: Config, now: number): Serving {
  const found = readServing(config);
  refuseExpired(found, config, now);
  return found;
}

/** What the files hold, whatever its time. @throws Error as findCertificate */
function readServing(config: Config): Serving {
  const { cert, key } = filesOf(config);
  const pair = readCertificate(read("server.tls.cert", cert), read("server.tls.key", key));
  return { ...pair, client_ca: findAuthority(config) };
}

/** @throws Error */
function refuseExpired({ expires_at }: Serving, config: Config, now: number): void {
  if (expires_at > now) return;
  throw new Error(`server.tls.cert: ${filesOf(config).cert}: it has expired on ${day(expires_at)}: renew it`);
}

function filesOf({ server }: Config): { readonly cert: string; readonly key: string } {
  return server.tls.mode === "auto" ? selfSignedFiles(server.data_dir) : server.tls;
}

/** @throws Error */
function findAuthority(config: Config): string | null {
  const { client_ca } = config.server.tls;
  return client_ca === "" ? null : checkAuthority(read("server.tls.client_ca", client_ca));
}

/** @throws Error */
function read(option: string, path: string): PemFile {
  try {
    return { name: `${option}: ${path}`, text: readFileSync(path, "utf8") };
  } catch (cause) {
    throw new Error(`${option}: cannot read ${path} (${reasonOf(cause)}): it must be a PEM file`, { cause });
  }
}
