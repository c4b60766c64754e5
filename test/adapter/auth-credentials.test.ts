import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Principal } from "../../src/core/principal.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import { createSqliteStore } from "../../src/store/sqlite/store.ts";
import { silentLog } from "../support/engine.ts";
import type { Auth, AuthChanges, Home } from "./auth.fixture.ts";
import { newHome, refusal, slowStore, startAuth } from "./auth.fixture.ts";

let home: Home;
beforeEach(async () => {
  home = await newHome();
});
afterEach(() => home[Symbol.asyncDispose]());

const withToken = (auth: Auth, token: string): Promise<Principal> => auth.login({ kind: "token", token });
const admin = (auth: Auth): Promise<Principal> => withToken(auth, auth.local.token);

async function openLogin(
  auth: Auth,
  by: Principal,
): Promise<{ auth_session_id: string; session_token: string }> {
  return auth.request(by, "auth_session.create");
}

describe("what ends a credential", () => {
  test("a revoked one ends at once, and is told after the answer", async () => {
    const auth = await startAuth(home);
    const { token, token_id } = await auth.token();
    const principal = await withToken(auth, token);
    expect(auth.credentials.isLive(principal)).toBe(true);
    await auth.request(await admin(auth), "token.revoke", { token_id });
    expect(auth.credentials.isLive(principal)).toBe(false);
    expect(auth.revoked).toEqual([]);
    home.clock.advance(0);
    expect(auth.revoked).toEqual([token_id]);
  });

  test("a rotated one keeps its id, and the old secret's principal does not count", async () => {
    const auth = await startAuth(home);
    const { token, token_id } = await auth.token({ user: "ann", role: "viewer" });
    const old = await withToken(auth, token);
    const issued = await auth.request<{ token: string }>(await admin(auth), "token.rotate", { token_id });
    const fresh = await withToken(auth, issued.token);
    expect(fresh).toEqual(old);
    expect([auth.credentials.isLive(old), auth.credentials.isLive(fresh)]).toEqual([false, true]);
    home.clock.advance(0);
    expect(auth.revoked).toEqual([token_id]);
  });

  test("an expired one is told within a second, also when the clock was set", async () => {
    const auth = await startAuth(home);
    const short = await auth.token({ expires_in_secs: 10 });
    const long = await auth.token({ expires_in_secs: 86_400 });
    home.clock.advance(9_999);
    expect(auth.revoked).toEqual([]);
    expect(await withToken(auth, short.token)).toMatchObject({ expires_at: home.clock.now() + 1 });
    home.clock.advance(1);
    expect(auth.revoked).toEqual([short.token_id]);
    home.clock.jump(86_400_000);
    expect(await refusal(withToken(auth, long.token))).toMatchObject({ code: "UNAUTHORIZED" });
    home.clock.advance(1_000);
    expect(auth.revoked).toEqual([short.token_id, long.token_id]);
    expect(auth.credentials.tokens()).toHaveLength(1);
  });

  test("its end by itself is in the audit trail, and what was revoked before is not", async () => {
    const auth = await startAuth(home);
    const by = await withToken(auth, (await auth.token({ user: "ann", expires_in_secs: 10 })).token);
    const { auth_session_id } = await openLogin(auth, by);
    const revoked = await auth.token({ user: "ann", expires_in_secs: 10 });
    await auth.request(await admin(auth), "token.revoke", { token_id: revoked.token_id });
    home.clock.advance(10_000);
    await auth.journal.drained();
    const entries = (await home.store.audit({ limit: 10 })).filter(({ action }) =>
      action.endsWith(".expire"),
    );
    expect(
      entries.map(({ action, user, target, outcome }) => [action, user, target, outcome]).sort(),
    ).toEqual([
      ["auth_session.expire", "ann", auth_session_id, "ok"],
      ["token.expire", "ann", by.credential, "ok"],
    ]);
  });

  test("a credential that ends sooner than those before it is not overlooked", async () => {
    const auth = await startAuth(home);
    const ids: string[] = [];
    for (const expires_in_secs of [3_000, 2, 30]) ids.push((await auth.token({ expires_in_secs })).token_id);
    home.clock.advance(2_000);
    expect(auth.revoked).toEqual([ids[1]] as string[]);
    home.clock.advance(28_000);
    expect(auth.revoked).toEqual([ids[1], ids[2]] as string[]);
  });

  test("nothing waits where nothing expires, and after close", async () => {
    const auth = await startAuth(home);
    await auth.token();
    expect(home.clock.pending).toBe(0);
    await auth.token({ expires_in_secs: 10 });
    expect(home.clock.pending).toBe(1);
    await auth.stop();
    expect(home.clock.pending).toBe(0);
  });

  test("a login ends with the credential it was made with, and so on down", async () => {
    const auth = await startAuth(home);
    const { token, token_id } = await auth.token();
    const first = await openLogin(auth, await withToken(auth, token));
    const second = await openLogin(auth, await withToken(auth, first.session_token));
    const other = await openLogin(auth, await admin(auth));
    await auth.request(await admin(auth), "token.rotate", { token_id });
    for (const { session_token } of [first, second]) {
      expect(await refusal(withToken(auth, session_token))).toMatchObject({ code: "UNAUTHORIZED" });
    }
    expect(await withToken(auth, other.session_token)).toMatchObject({ credential: other.auth_session_id });
    home.clock.advance(0);
    expect(auth.revoked.toSorted()).toEqual(
      [token_id, first.auth_session_id, second.auth_session_id].toSorted(),
    );
  });

  test("a login never outlives the credential it was made with", async () => {
    const auth = await startAuth(home);
    const { token } = await auth.token({ expires_in_secs: 60 });
    const end = home.clock.now() + 60_000;
    const first = await openLogin(auth, await withToken(auth, token));
    expect(first).toMatchObject({ expires_at: end });
    home.clock.advance(30_000);
    expect(await openLogin(auth, await withToken(auth, first.session_token))).toMatchObject({
      expires_at: end,
    });
    home.clock.advance(30_000);
    expect(auth.credentials.authSessions(null)).toEqual([]);
  });
});

describe("a restart", () => {
  test("keeps tokens, logins and when a token was used", async () => {
    const first = await startAuth(home);
    const { token, token_id } = await first.token({ user: "ann", role: "operator", expires_in_secs: 3_600 });
    const before = await withToken(first, token);
    const login = await openLogin(first, before);
    home.clock.advance(30_000);
    await withToken(first, token);
    const used = home.clock.now();
    await first.stop();

    const next = await startAuth(home);
    expect(await withToken(next, login.session_token)).toMatchObject({ user: "ann", scopes: before.scopes });
    expect(next.credentials.tokens().find((each) => each.token_id === token_id)).toEqual({
      token_id,
      name: "laptop",
      user: "ann",
      scopes: SCOPES.filter((scope) => before.scopes.has(scope)),
      created_at: used - 30_000,
      expires_at: used - 30_000 + 3_600_000,
      last_used_at: used,
    });
    expect(await withToken(next, token)).toEqual(before);
  });

  test("does not bring back what was revoked or has expired", async () => {
    const first = await startAuth(home);
    const revoked = await first.token();
    const expiring = await first.token({ expires_in_secs: 60 });
    const login = await openLogin(first, await withToken(first, revoked.token));
    await first.request(await admin(first), "token.revoke", { token_id: revoked.token_id });
    await first.stop();
    home.clock.advance(60_000);
    const next = await startAuth(home);
    for (const secret of [revoked.token, expiring.token, login.session_token]) {
      expect(await refusal(withToken(next, secret))).toMatchObject({ code: "UNAUTHORIZED" });
    }
    expect(next.credentials.tokens()).toHaveLength(1);
    expect(next.credentials.authSessions(null)).toEqual([]);
  });

  const configurations: [string, AuthChanges, AuthChanges, boolean][] = [
    ["the same configured token", { token: "one" }, { token: "one" }, true],
    ["another configured token", { token: "one" }, { token: "two" }, false],
    ["no configured token", { token: "one" }, {}, false],
    ["mode none again", { mode: "none" }, { mode: "none" }, true],
    ["mode token after mode none", { mode: "none" }, { mode: "token" }, false],
  ];
  test.each(configurations)("with %s: does a login stay?", async (...[, before, after, stays]) => {
    const first = await startAuth(home, before);
    const credential = before.token === undefined ? { kind: "none" } : { kind: "token", token: before.token };
    const by = await first.login(credential as { kind: "none" });
    const { session_token } = await openLogin(first, by);
    await first.stop();
    const next = await startAuth(home, after);
    const outcome = await next.authenticator.authenticate(
      { kind: "session_token", token: session_token },
      { transport: "rest", remote: "" },
    );
    expect(outcome.ok).toBe(stays);
  });

  test("keeps everything on disk, too", async () => {
    await using disk = await newHome((clock, data_dir) =>
      createSqliteStore({ data_dir, durability: "full", clock, log: silentLog, limits: DEFAULT_LIMITS }),
    );
    const first = await startAuth(disk);
    const kept = await first.token();
    const gone = await first.token();
    const login = await openLogin(first, await withToken(first, kept.token));
    await first.request(await admin(first), "token.revoke", { token_id: gone.token_id });
    await first.stop();
    await disk.store.close();

    const { clock, data_dir } = disk;
    const store = createSqliteStore({
      data_dir,
      durability: "full",
      clock,
      log: silentLog,
      limits: DEFAULT_LIMITS,
    });
    await store.open();
    const next = await startAuth({ ...disk, store: slowStore(store) });
    try {
      expect(next.local).toEqual({ created: false, token: first.local.token });
      expect(await withToken(next, kept.token)).toMatchObject({ credential: kept.token_id });
      expect(await withToken(next, login.session_token)).toMatchObject({ credential: login.auth_session_id });
      expect(await refusal(withToken(next, gone.token))).toMatchObject({ code: "UNAUTHORIZED" });
    } finally {
      await next.stop();
      await store.close();
    }
  });
});

describe("the last use", () => {
  const writes = (): number =>
    home.store.committed.filter((item) => item.kind === "append" && !item.ack).length;

  test("is known at once and written once a minute, without an fsync", async () => {
    const auth = await startAuth(home);
    const { token, token_id } = await auth.token();
    const before = writes();
    for (let i = 0; i < 120; i++) {
      await withToken(auth, token);
      home.clock.advance(1_000);
    }
    const lastUse = home.clock.now() - 1_000;
    expect(auth.credentials.tokens().find((each) => each.token_id === token_id)?.last_used_at).toBe(lastUse);
    await auth.stop();
    // At 0 s, at 60 s, and what was left at the end.
    expect(writes() - before).toBe(3);
  });

  test("never brings back what a change on its way ends", async () => {
    const auth = await startAuth(home);
    const { token, token_id } = await auth.token();
    const by = await admin(auth);
    home.store.hold();
    const rotated = auth.request<{ token: string }>(by, "token.rotate", { token_id });
    await withToken(auth, token);
    home.store.release();
    const fresh = (await rotated).token;
    await auth.stop();
    const next = await startAuth(home);
    expect(await withToken(next, fresh)).toBeTruthy();
    expect(await refusal(withToken(next, token))).toMatchObject({ code: "UNAUTHORIZED" });
  });
});
