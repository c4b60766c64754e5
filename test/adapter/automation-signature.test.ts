import { describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSealer, keyFile } from "../../src/automation/sealed.ts";
import type { Verify } from "../../src/automation/signature.ts";
import { newSigningSecret, proves, secretFault, signStandard } from "../../src/automation/signature.ts";

const NOW = 1_614_265_330;
const body = (text: string): Uint8Array => new TextEncoder().encode(text);

function proof(verify: Verify, header: string, headers: Record<string, string>, text: string, now = NOW) {
  return { verify, header, headers: new Headers(headers), body: body(text), now };
}

describe("a signature of Standard Webhooks", () => {
  // The example of the specification.
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
  const text = '{"test": 2432232314}';
  const signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
  const headers = { "webhook-id": id, "webhook-timestamp": String(NOW), "webhook-signature": signature };
  const of = (more: Record<string, string>, said = text, now = NOW): boolean =>
    proves(secret, proof("standard", "webhook-signature", { ...headers, ...more }, said, now));

  test("is made and known as the specification says", () => {
    expect(signStandard([secret], id, NOW, text)).toBe(signature);
    expect(of({})).toBe(true);
    expect(of({ "webhook-signature": `v2,x v1,AAAA ${signature}` })).toBe(true);
  });

  test("is none for another body, id, time or secret", () => {
    expect(of({}, `${text} `)).toBe(false);
    expect(of({ "webhook-id": "msg_other" })).toBe(false);
    expect(of({ "webhook-timestamp": String(NOW + 1) })).toBe(false);
    expect(of({ "webhook-signature": "" })).toBe(false);
    expect(of({ "webhook-signature": signature.slice(3) })).toBe(false);
    const other = newSigningSecret("standard");
    expect(proves(other, proof("standard", "webhook-signature", headers, text))).toBe(false);
  });

  test("is too old, or of the future, after five minutes", () => {
    expect([300, -300, 301, -301].map((secs) => of({}, text, NOW + secs))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  test("rotated, it is made with both secrets", () => {
    const next = newSigningSecret("standard");
    const both = signStandard([next, secret], id, NOW, text);
    expect(both.split(" ")).toHaveLength(2);
    for (const each of [next, secret]) {
      const given = { ...headers, "webhook-signature": both };
      expect(proves(each, proof("standard", "webhook-signature", given, text))).toBe(true);
    }
  });
});

describe("an HMAC of the body", () => {
  // What GitHub's documentation has.
  const secret = "It's a Secret to Everybody";
  const text = "Hello, World!";
  const hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

  test.each([
    [`sha256=${hex}`, true],
    [hex.toUpperCase(), true],
    [Buffer.from(hex, "hex").toString("base64"), true],
    [`sha256=${hex.slice(0, -1)}0`, false],
    ["", false],
    ["sha256=", false],
  ])("%p: %p", (said, right) => {
    expect(proves(secret, proof("hmac", "x-hub-signature-256", { "x-hub-signature-256": said }, text))).toBe(
      right,
    );
  });
});

test("a token stands in the Authorization header, or in the one that is named", () => {
  const secret = newSigningSecret("token");
  const ask = (header: string, said: string): boolean =>
    proves(secret, proof("token", header, { [header]: said }, ""));
  expect([ask("authorization", `Bearer ${secret}`), ask("authorization", secret)]).toEqual([true, true]);
  expect([ask("x-gitlab-token", secret), ask("x-gitlab-token", `Bearer ${secret}`)]).toEqual([true, false]);
  expect([ask("authorization", ""), ask("authorization", secret.slice(0, -1))]).toEqual([false, false]);
});

test("a secret that somebody brings for Standard Webhooks has its form", () => {
  const wrong = ["some-secret-some-secret", "whsec_short", `whsec_${"!".repeat(40)}`];
  expect(wrong.map((secret) => secretFault("standard", secret) === null)).toEqual([false, false, false]);
  expect(secretFault("standard", newSigningSecret("standard"))).toBeNull();
  expect(secretFault("hmac", "whatever-it-is-called")).toBeNull();
});

describe("what is sealed", () => {
  const place = mkdtempSync(join(tmpdir(), "sealed-"));
  const sealed = createSealer(place).seal("a secret", "hok_1");

  test("opens again, in another process too, for what it was sealed for alone", () => {
    expect(sealed).not.toContain("secret");
    expect(createSealer(place).open(sealed, "hok_1")).toBe("a secret");
    expect(createSealer(place).open(sealed, "hok_2")).toBeNull();
    expect(createSealer(place).open(sealed.slice(0, -2), "hok_1")).toBeNull();
    expect(createSealer(place).open("", "hok_1")).toBeNull();
  });

  test("the key is this user's alone, and is made once", () => {
    expect(statSync(keyFile(place)).mode & 0o777).toBe(0o600);
    const key = readFileSync(keyFile(place), "utf8");
    createSealer(place).seal("another", "hok_3");
    expect(readFileSync(keyFile(place), "utf8")).toBe(key);
  });

  test("with another key it stays shut", () => {
    writeFileSync(keyFile(place), "something else\n");
    expect(createSealer(place).open(sealed, "hok_1")).toBeNull();
    chmodSync(place, 0o700);
    rmSync(place, { recursive: true });
  });
});
