import { afterAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { readCertificate } from "../../src/certificate.ts";
import { Ports } from "../../src/transport/listener.ts";
import { makeCertificate, shownAt } from "../support/certificates.ts";
import { workplace } from "../support/executable.ts";
import { needs } from "../support/needs.ts";

const HAS_OPENSSL = needs("openssl", "openssl");
const folder = workplace();
afterAll(() => folder[Symbol.dispose]());

function read(cert: string, key: string) {
  return readCertificate({ name: "CERT", text: cert }, { name: "KEY", text: key });
}

describe.skipIf(!HAS_OPENSSL)("a certificate with its key", () => {
  test.each([
    ["p256", "ec -pkeyopt ec_paramgen_curve:prime256v1"],
    ["p384", "ec -pkeyopt ec_paramgen_curve:secp384r1"],
    ["rsa", "rsa:2048"],
    ["ed25519", "ed25519"],
  ])("of %s is taken, and TLS is spoken with it", async (name, algorithm) => {
    const made = makeCertificate(folder.path, name, { algorithm });
    const certificate = read(made.cert, made.key);
    expect(certificate).toMatchObject({ fingerprint: made.fingerprint, self_signed: true });
    const days = (certificate.expires_at - certificate.valid_from) / 86_400_000;
    expect([days, certificate.valid_from <= Date.now()]).toEqual([30, true]);
    const ports = new Ports<undefined>(
      {
        websocket: { message: () => undefined },
        fetch: async () => new Response("here"),
        error: () => new Response("failed", { status: 500 }),
      },
      systemClock,
      () => () => undefined,
    );
    const at = { hostname: "127.0.0.1", port: 0, option: "server.port" };
    const port = await ports.open(at, { ...certificate, client_ca: null });
    expect(await shownAt(`127.0.0.1:${port}`)).toBe(made.fingerprint);
    await ports.close();
  });

  test("may have its chain after it, and the key beside it in one file", () => {
    const authority = makeCertificate(folder.path, "authority", { authority: true });
    const made = makeCertificate(folder.path, "leaf", { by: authority });
    const chain = `${made.cert}${authority.cert}`;
    expect(read(chain, made.key)).toMatchObject({
      cert: chain,
      fingerprint: made.fingerprint,
      self_signed: false,
    });
    for (const both of [`${made.cert}${made.key}`, `${made.key}${made.cert}`]) {
      expect(read(both, both).fingerprint).toBe(made.fingerprint);
    }
    expect(() => read(`${authority.cert}${made.cert}`, made.key)).toThrow("the gateway's own first");
  });

  test.each([
    ["weak", "rsa:1024", "KEY: RSA of 1024 bits can be broken: make a pair of 2048 or more"],
    ["koblitz", "ec -pkeyopt ec_paramgen_curve:secp256k1", "KEY holds no key that can be used"],
  ])("that is %s is refused", (name, algorithm, line) => {
    const made = makeCertificate(folder.path, name, { algorithm });
    expect(() => read(made.cert, made.key)).toThrow(line);
  });
});
