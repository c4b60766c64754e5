import { afterEach, beforeEach, expect, test } from "bun:test";
import { SCOPES } from "../../src/protocol/schema.ts";
import type { Auth, Home } from "./auth.fixture.ts";
import { newHome, startAuth } from "./auth.fixture.ts";

/** What may be done for somebody who set it up and is not there: what they may do now. */

let home: Home;
let auth: Auth;
beforeEach(async () => {
  home = await newHome();
  auth = await startAuth(home);
});
afterEach(async () => {
  await auth.stop();
  await home[Symbol.asyncDispose]();
});

const tailscale = { user: "ada", method: "tailscale", credential: null };

test("who comes in by the tailnet may do what the configuration says now", async () => {
  await auth.stop();
  const named: Record<string, ["chat.read"]> = { ada: ["chat.read"] };
  auth = await startAuth(home, { named });
  const { makers } = auth.credentials;
  expect(makers.rights({ owner: "ada", made_by: tailscale })).toEqual(new Set(["chat.read"]));
  await auth.stop();
  auth = await startAuth(home);
  expect(auth.credentials.makers.rights({ owner: "ada", made_by: tailscale })).toBe("ended");
});

test("the token of the configuration counts while it stands there", async () => {
  await auth.stop();
  auth = await startAuth(home, { token: "a token of my own" });
  const principal = await auth.login({ kind: "token", token: "a token of my own" });
  const made_by = auth.credentials.makers.of(principal);
  const made = { owner: "owner", made_by };
  expect(auth.credentials.makers.rights(made)).toEqual(new Set(SCOPES));
  auth.credentials.setToken("another one");
  expect(auth.credentials.makers.rights(made)).toEqual(new Set(SCOPES));
  auth.credentials.setToken("");
  expect(auth.credentials.makers.rights(made)).toBe("ended");
});

test("the token of this machine goes on where its file was lost, and ends where it is revoked", async () => {
  const principal = await auth.login({ kind: "token", token: auth.local.token });
  const made = { owner: "owner", made_by: auth.credentials.makers.of(principal) };
  await auth.stop();
  await Bun.file(`${home.data_dir}/token`).delete();
  auth = await startAuth(home);
  expect(auth.local.created).toBe(true);
  expect(auth.credentials.makers.rights(made)).toEqual(new Set(SCOPES));
  const now = await auth.login({ kind: "token", token: auth.local.token });
  await auth.request(now, "token.revoke", { token_id: principal.credential });
  expect(auth.credentials.makers.rights(made)).toBe("ended");
});

test("of an earlier version all that its owner may do counts, with what it was changed by", async () => {
  const { token, token_id } = await auth.token({ user: "ann", role: "viewer" });
  const { makers } = auth.credentials;
  expect(makers.rights({ owner: "ann" })).toEqual(new Set(["chat.read"]));
  expect(makers.rights({ owner: "owner" })).toEqual(new Set(SCOPES));
  const changed_by = makers.of(await auth.login({ kind: "token", token }));
  expect(makers.rights({ owner: "owner", changed_by })).toEqual(new Set(["chat.read"]));
  const admin = await auth.login({ kind: "token", token: auth.local.token });
  await auth.request(admin, "token.revoke", { token_id });
  expect(makers.rights({ owner: "owner", changed_by })).toBe("ended");
  expect(makers.rights({ owner: "ann" })).toEqual(new Set());
});
