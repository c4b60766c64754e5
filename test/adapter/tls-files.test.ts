import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { chmodSync, copyFileSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import type { Config } from "../../src/config.ts";
import type { Serving } from "../../src/tls.ts";
import { liveConfig } from "../../src/settings.ts";
import { createTls, findCertificate } from "../../src/tls.ts";
import type { MadeCertificate } from "../support/certificates.ts";
import { makeCertificate, openssl } from "../support/certificates.ts";
import { manualClock } from "../support/clock.ts";
import { workplace } from "../support/executable.ts";
import { createLogbook } from "../support/logbook.ts";
import { needs } from "../support/needs.ts";
import { until } from "../support/serve-sockets.ts";

const HAS_OPENSSL = needs("openssl", "openssl");
const DAY_MS = 86_400_000;
/** Longer than from one look at the files to the next. */
const LOOK_MS = 2_500;

const folder = workplace();
let first: MadeCertificate;
let second: MadeCertificate;
beforeAll(() => {
  if (!HAS_OPENSSL) return;
  first = makeCertificate(folder.path, "first");
  second = makeCertificate(folder.path, "second");
});
afterAll(() => folder[Symbol.dispose]());

function configOf(tls: Record<string, string>, data_dir = folder.path): Config {
  const flags = Object.fromEntries(Object.entries(tls).map(([key, value]) => [`server.tls.${key}`, value]));
  return loadConfig({ env: {}, cwd: folder.path, flags: { ...flags, "server.data_dir": data_dir } }).config;
}

/** What a gateway does with its certificate, at the pace of the test. */
async function open(config: Config) {
  const clock = manualClock(Date.now());
  const log = createLogbook();
  const tls = createTls(liveConfig(config), clock, log);
  if (tls === null) throw new Error("there is no TLS");
  const seen: Serving[] = [await tls.open()];
  tls.watch((serving) => void seen.push(serving));
  return {
    seen,
    clock,
    log,
    expires: () => tls.expires_at,
    fingerprints: () => seen.map(({ fingerprint }) => fingerprint),
    warnings: () => log.lines.filter(({ level }) => level === "warn"),
    errors: () => log.lines.filter(({ level }) => level === "error").map(({ message }) => message),
    /** Lets the next look happen. */
    async look(): Promise<void> {
      await until(() => clock.pending === 1);
      clock.advance(LOOK_MS);
      await until(() => clock.pending === 1);
    },
    [Symbol.dispose]: () => tls.close(),
  };
}

describe.skipIf(!HAS_OPENSSL)("files that others keep", () => {
  const [cert, key] = [join(folder.path, "cert.pem"), join(folder.path, "key.pem")];
  const put = (part: "cert" | "key", { cert_file, key_file }: MadeCertificate): void => {
    const to = part === "cert" ? cert : key;
    rmSync(to, { force: true });
    copyFileSync(part === "cert" ? cert_file : key_file, to);
  };

  test("are taken once they go together; half of a new pair is waited for, and then told once", async () => {
    put("cert", first);
    put("key", first);
    using at = await open(configOf({ cert, key }));
    await at.look();
    expect(at.fingerprints()).toEqual([first.fingerprint]);
    put("cert", second);
    await at.look();
    expect(at.warnings()).toEqual([]);
    await at.look();
    await at.look();
    expect(at.warnings()).toEqual([
      {
        level: "warn",
        fields: { reason: expect.stringContaining(`server.tls.key: ${key}: it is not the key`) },
        message: "the certificate cannot be used: the last one stays",
      },
    ]);
    put("key", second);
    await at.look();
    expect(at.fingerprints()).toEqual([first.fingerprint, second.fingerprint]);
    rmSync(cert);
    await at.look();
    await at.look();
    expect(at.warnings().at(-1)?.fields["reason"]).toContain("there is no such file");
  });

  test("are seen behind a link that is set anew, in a folder nobody watches", async () => {
    using elsewhere = workplace();
    const link = join(folder.path, "live.pem");
    const old = join(elsewhere.path, "1.pem");
    copyFileSync(first.cert_file, old);
    symlinkSync(old, link);
    put("key", first);
    using at = await open(configOf({ cert: link, key }));
    // As those do it who keep the link and write into what it points to.
    copyFileSync(second.cert_file, old);
    put("key", second);
    await at.look();
    expect(at.fingerprints()).toEqual([first.fingerprint, second.fingerprint]);
  });

  test("an authority for clients is taken with them", async () => {
    const ca = join(folder.path, "ca.pem");
    copyFileSync(first.cert_file, ca);
    put("cert", first);
    put("key", first);
    using at = await open(configOf({ cert, key, client_ca: ca }));
    copyFileSync(second.cert_file, ca);
    await at.look();
    expect(at.seen.map(({ client_ca }) => client_ca)).toEqual([first.cert, second.cert]);
  });

  test("that are about to expire are spoken of once a day, and go on when they have", async () => {
    put("cert", first);
    put("key", first);
    using at = await open(configOf({ cert, key }));
    await at.look();
    expect(at.warnings()).toEqual([]);
    at.clock.jump(25 * DAY_MS);
    await at.look();
    await at.look();
    expect(at.warnings().map(({ message }) => message)).toEqual([
      "the certificate is about to expire: renew it",
    ]);
    at.clock.jump(DAY_MS);
    await at.look();
    expect(at.warnings()).toHaveLength(2);
    at.clock.jump(3.5 * DAY_MS);
    await at.look();
    expect(at.warnings()).toHaveLength(3);
    at.clock.jump(0.8 * DAY_MS);
    await at.look();
    await at.look();
    expect(at.errors()).toEqual(["the certificate has expired, and clients refuse it: renew it"]);
    expect(at.fingerprints()).toEqual([first.fingerprint]);
    expect(at.expires()).toBe(Date.parse(new X509Certificate(first.cert).validTo));
  });

  test("that have expired are used where there is nothing better, and never in the place of what is", async () => {
    const late = makeCertificate(folder.path, "late", { expired: true });
    put("cert", late);
    put("key", late);
    const config = configOf({ cert, key });
    expect(() => findCertificate(config, Date.now())).toThrow(
      /^server\.tls\.cert: .*cert\.pem: it has expired on \d{4}-\d\d-\d\d: renew it$/,
    );
    using at = await open(config);
    await at.look();
    expect(at.errors()).toEqual(["the certificate has expired, and clients refuse it: renew it"]);
    put("cert", first);
    put("key", first);
    await at.look();
    put("cert", late);
    put("key", late);
    await at.look();
    await at.look();
    expect(at.fingerprints()).toEqual([late.fingerprint, first.fingerprint]);
    expect(at.warnings().at(-1)?.fields["reason"]).toContain("it has expired on");
  });

  test("a key that others can read is told, and left as it is", async () => {
    put("cert", first);
    put("key", first);
    chmodSync(key, 0o644);
    using at = await open(configOf({ cert, key }));
    expect(at.warnings().map(({ fields }) => fields)).toEqual([{ path: key }]);
  });
});

describe.skipIf(!HAS_OPENSSL)("a certificate of one's own", () => {
  test("is kept, and made anew a month before its end, while it is in use", async () => {
    using place = workplace();
    const config = configOf({ mode: "auto" }, place.path);
    using at = await open(config);
    using again = await open(config);
    expect(again.fingerprints()).toEqual(at.fingerprints());
    at.clock.jump(790 * DAY_MS);
    await at.look();
    expect(at.seen).toHaveLength(1);
    at.clock.jump(10 * DAY_MS);
    await at.look();
    await until(() => at.seen.length === 2);
    expect(at.expires()).toBe(at.seen[1]?.expires_at ?? 0);
    expect(at.expires()).toBeGreaterThan(at.seen[0]?.expires_at ?? 0);
    const [before, after] = at.fingerprints();
    expect(after).not.toBe(before);
    await at.look();
    expect([at.seen.length, at.warnings()]).toEqual([2, []]);
    const text = openssl(["x509", "-in", join(place.path, "tls", "cert.pem"), "-noout", "-text"]);
    expect(text).toContain("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
    expect(text).toContain("ASN1 OID: prime256v1");
    expect(text).toMatch(/CA:FALSE[\s\S]*Digital Signature[\s\S]*TLS Web Server Authentication/);
  });

  test("that is broken, or whose key is gone, is made anew at the start", async () => {
    using place = workplace();
    const config = configOf({ mode: "auto" }, place.path);
    const files = join(place.path, "tls");
    const prints = new Set<string | undefined>();
    for (const harm of [
      () => undefined,
      () => rmSync(join(files, "key.pem")),
      () => copyFileSync(first.key_file, join(files, "key.pem")),
      () => copyFileSync(first.key_file, join(files, "cert.pem")),
    ]) {
      harm();
      using at = await open(config);
      prints.add(at.fingerprints()[0]);
      expect(readFileSync(join(files, "cert.pem"), "utf8")).toBe(at.seen[0]?.cert ?? "");
    }
    expect(prints.size).toBe(4);
  });
});
