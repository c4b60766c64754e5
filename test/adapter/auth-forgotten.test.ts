import { afterEach, beforeEach, expect, test } from "bun:test";
import type { UserChange } from "../../src/core/users.ts";
import type { Auth, Home } from "./auth.fixture.ts";
import { newHome, startAuth } from "./auth.fixture.ts";

/** What is on its way to the store while the last of a deleted user goes must not bring their credentials back. */

let home: Home;
beforeEach(async () => {
  home = await newHome();
});
afterEach(() => home[Symbol.asyncDispose]());

/** As whoever deletes a user writes it. */
function write({ journal }: Auth, { rows, commit, undo }: UserChange): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = ({ ok }: { readonly ok: boolean }): void => {
      if (ok) commit();
      else undo();
      return ok ? resolve() : reject(new Error("refused"));
    };
    journal.append({ session: null, run: null, ack: true, events: [], rows, settle });
  });
}

/** Gus, who has a token and is being deleted: all that is left is to forget them. */
async function stage() {
  const auth = await startAuth(home);
  const { token, token_id } = await auth.token({ user: "gus" });
  const { users } = auth.credentials;
  const removal = { user: "gus", by: "owner", inheritance: { sessions: "delete" } } as const;
  await write(auth, users.remove(removal));
  const admin = await auth.login({ kind: "token", token: auth.local.token });
  const show = (): Promise<string> =>
    auth.login({ kind: "token", token }).then(
      ({ user }) => user,
      ({ reason }: { reason: string }) => reason,
    );
  return { auth, users, token_id, admin, show };
}

async function afterRestart(): Promise<string[]> {
  const auth = await startAuth(home);
  const left = auth.credentials.tokens().map(({ user }) => user);
  await auth.stop();
  return left;
}

test("a token that is shown while it goes is not written again", async () => {
  const { auth, users, show } = await stage();
  home.store.hold();
  const gone = write(auth, users.forget("gus"));
  home.clock.advance(120_000);
  expect(await show()).toBe("UNAUTHORIZED");
  home.store.release();
  await gone;
  await auth.stop();
  expect(await afterRestart()).toEqual(["owner"]);
});

test("nor is one that was used before, when the gateway stops meanwhile", async () => {
  const auth = await startAuth(home);
  const { token } = await auth.token({ user: "gus" });
  await auth.login({ kind: "token", token });
  home.clock.advance(1_000);
  await auth.login({ kind: "token", token });
  home.store.hold();
  const gone = write(auth, auth.credentials.users.forget("gus"));
  const stopped = auth.stop();
  home.store.release();
  await gone;
  await stopped;
  expect(await afterRestart()).toEqual(["owner"]);
});

test("nobody rotates or renames what is going, and whoever tries is told to come again", async () => {
  const { auth, users, token_id, admin } = await stage();
  home.store.hold();
  const gone = write(auth, users.forget("gus"));
  await expect(auth.request(admin, "token.rotate", { token_id })).rejects.toMatchObject({
    reason: "CONFLICT",
    details: { kind: "busy" },
  });
  home.store.release();
  await gone;
  await expect(auth.request(admin, "token.rotate", { token_id })).rejects.toMatchObject({
    reason: "NOT_FOUND",
  });
  await auth.stop();
  expect(await afterRestart()).toEqual(["owner"]);
});

test("where storage refuses, it is as before and can be tried again", async () => {
  const { auth, users, token_id, admin } = await stage();
  home.store.refuse(true);
  await expect(write(auth, users.forget("gus"))).rejects.toThrow("refused");
  home.store.refuse(false);
  while (auth.journal.refused !== null) {
    home.clock.advance(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await auth.request(admin, "token.revoke", { token_id });
  await write(auth, users.forget("gus"));
  await auth.stop();
  expect(await afterRestart()).toEqual(["owner"]);
});
