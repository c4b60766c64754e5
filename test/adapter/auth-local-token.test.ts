import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Principal } from "../../src/core/principal.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import type { Auth, Home } from "./auth.fixture.ts";
import { newHome, refusal, startAuth } from "./auth.fixture.ts";

let home: Home;
beforeEach(async () => {
  home = await newHome();
});
afterEach(() => home[Symbol.asyncDispose]());

const withToken = (auth: Auth, token: string): Promise<Principal> => auth.login({ kind: "token", token });
const admin = (auth: Auth): Promise<Principal> => withToken(auth, auth.local.token);
const file = (): string => join(home.data_dir, "token");
const inFile = (): string => readFileSync(file(), "utf8").trim();

describe("the local token", () => {
  test("is made at the first start, in a file only its owner reads", async () => {
    const auth = await startAuth(home);
    expect(auth.local.created).toBe(true);
    expect(auth.local.token).toMatch(/^agb_[A-Za-z0-9_-]{43}$/);
    expect(readFileSync(file(), "utf8")).toBe(`${auth.local.token}\n`);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(statSync(home.data_dir).mode & 0o777).toBe(0o700);
    expect(readdirSync(home.data_dir)).toEqual(["token"]);
    const principal = await admin(auth);
    expect(principal).toMatchObject({
      user: "owner",
      scopes: new Set(SCOPES),
      method: "token",
      expires_at: null,
    });
    expect(auth.credentials.tokens()).toMatchObject([
      { name: "local", user: "owner", token_id: principal.credential },
    ]);
  });

  test("is stored as its digest only", async () => {
    const auth = await startAuth(home);
    await auth.request(await admin(auth), "auth_session.create");
    const stored = JSON.stringify(home.store.committed);
    expect(stored).not.toContain(auth.local.token.slice(4));
    expect(stored).not.toContain("ags_");
    const digest = new Bun.CryptoHasher("sha256").update(auth.local.token).digest("hex");
    expect(stored).toContain(digest);
  });

  test("is the same after a restart, in every mode", async () => {
    const first = await startAuth(home);
    for (const mode of ["token", "none"]) {
      const next = await startAuth(home, { mode });
      expect(next.local).toEqual({ created: false, token: first.local.token });
    }
    expect(await withToken(first, first.local.token)).toBeTruthy();
  });

  const spoilt: [string, () => void][] = [
    ["the file is gone", () => rmSync(file())],
    ["the file is empty", () => writeFileSync(file(), "")],
    ["the file holds something else", () => writeFileSync(file(), `agb_${"x".repeat(43)}\n`)],
    ["the file is huge", () => writeFileSync(file(), "x".repeat(100_000))],
  ];
  test.each(spoilt)("is made anew when %s, and the old one ends", async (_what, spoil) => {
    const first = await startAuth(home);
    spoil();
    const next = await startAuth(home);
    expect(next.local.created).toBe(true);
    expect(inFile()).toBe(next.local.token);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(await admin(next)).toBeTruthy();
    expect(await refusal(withToken(next, first.local.token))).toMatchObject({ code: "UNAUTHORIZED" });
    expect(next.credentials.tokens()).toHaveLength(1);
    const again = await startAuth(home);
    expect(again.local).toEqual({ created: false, token: next.local.token });
    expect(again.credentials.tokens()).toHaveLength(1);
  });

  test("is not a lesser token somebody put in its place", async () => {
    const first = await startAuth(home);
    const { token } = await first.token({ role: "operator" });
    writeFileSync(file(), token);
    const next = await startAuth(home);
    expect(next.local.created).toBe(true);
    expect(await admin(next)).toMatchObject({ scopes: new Set(SCOPES) });
    expect(await withToken(next, token)).toBeTruthy();
  });

  test("may be the configured one", async () => {
    mkdirSync(home.data_dir);
    writeFileSync(file(), "configured\n", { mode: 0o600 });
    const auth = await startAuth(home, { token: "configured" });
    expect(auth.local).toEqual({ created: false, token: "configured" });
    expect(inFile()).toBe("configured");
  });

  test("is closed to others when its file was open to them", async () => {
    const first = await startAuth(home);
    chmodSync(file(), 0o644);
    const next = await startAuth(home);
    expect(next.local).toEqual({ created: false, token: first.local.token });
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(next.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
  });

  test("that cannot be written is an error that says what to do", async () => {
    mkdirSync(home.data_dir);
    mkdirSync(file());
    const body = await refusal(startAuth(home));
    expect(body).toMatchObject({ code: "UNAVAILABLE", details: { kind: "token_file" } });
    expect(body.message).toContain("server.data_dir");
    expect(readdirSync(home.data_dir)).toEqual(["token"]);
  });

  test("cannot be made while storage refuses writes", async () => {
    home.store.refuse(true);
    const body = await refusal(startAuth(home));
    expect(body).toMatchObject({ code: "UNAVAILABLE", details: { kind: "storage" } });
    expect(existsSync(file())).toBe(false);
  });

  test("follows its rotation into the file", async () => {
    const auth = await startAuth(home);
    const { credential } = await admin(auth);
    const issued = await auth.request(await admin(auth), "token.rotate", { token_id: credential });
    expect(inFile()).toBe(issued["token"] as string);
    expect((await startAuth(home)).local).toEqual({ created: false, token: inFile() });
  });

  test("is replaced when it is revoked", async () => {
    const auth = await startAuth(home);
    const { credential } = await admin(auth);
    await auth.request(await admin(auth), "token.revoke", { token_id: credential });
    expect(await refusal(admin(auth))).toMatchObject({ code: "UNAUTHORIZED" });
    const next = await withToken(auth, inFile());
    expect(next.credential).not.toBe(credential);
    expect((await startAuth(home)).local).toEqual({ created: false, token: inFile() });
  });
});
