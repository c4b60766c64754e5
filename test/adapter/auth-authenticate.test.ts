import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Credential, Principal } from "../../src/core/principal.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import { deviceCredential } from "../support/device.ts";
import type { Auth, AuthChanges, Home } from "./auth.fixture.ts";
import { FROM, newHome, refusal, startAuth } from "./auth.fixture.ts";

let home: Home;
beforeEach(async () => {
  home = await newHome();
});
afterEach(() => home[Symbol.asyncDispose]());

/** A secret of a kind, in a state. */
type Make = (auth: Auth) => Promise<string>;
type State = "right" | "wrong" | "empty" | "truncated" | "expired" | "revoked" | "rotated";

const admin = (auth: Auth): Promise<Principal> => auth.login({ kind: "token", token: auth.local.token });

const tokens: Record<State, Make> = {
  right: async (auth) => (await auth.token()).token,
  wrong: async () => `agb_${"A".repeat(43)}`,
  empty: async () => "",
  truncated: async (auth) => (await auth.token()).token.slice(0, -1),
  expired: async (auth) => {
    const { token } = await auth.token({ expires_in_secs: 5 });
    home.clock.advance(5_000);
    return token;
  },
  revoked: async (auth) => {
    const { token, token_id } = await auth.token();
    await auth.request(await admin(auth), "token.revoke", { token_id });
    return token;
  },
  rotated: async (auth) => {
    const { token, token_id } = await auth.token();
    await auth.request(await admin(auth), "token.rotate", { token_id });
    return token;
  },
};

async function openLogin(auth: Auth): Promise<{ session_token: string; auth_session_id: string }> {
  const { token } = await auth.token();
  return auth.request(await auth.login({ kind: "token", token }), "auth_session.create");
}

const sessions: Record<State, Make> = {
  right: async (auth) => (await openLogin(auth)).session_token,
  wrong: async () => `ags_${"A".repeat(43)}`,
  empty: async () => "",
  truncated: async (auth) => (await openLogin(auth)).session_token.slice(0, -1),
  expired: async (auth) => {
    const { session_token } = await openLogin(auth);
    home.clock.advance(86_400_000);
    return session_token;
  },
  revoked: async (auth) => {
    const { session_token, auth_session_id } = await openLogin(auth);
    await auth.request(await admin(auth), "auth_session.revoke", { auth_session_id });
    return session_token;
  },
  rotated: async (auth) => {
    const { token, token_id } = await auth.token();
    const login = await auth.request<{ session_token: string }>(
      await auth.login({ kind: "token", token }),
      "auth_session.create",
    );
    await auth.request(await admin(auth), "token.rotate", { token_id });
    return login.session_token;
  },
};

const tickets: Record<State, Make> = {
  right: async (auth) => auth.tickets.issue(await admin(auth)).ticket,
  wrong: async () => `agt_${"A".repeat(43)}`,
  empty: async () => "",
  truncated: async (auth) => auth.tickets.issue(await admin(auth)).ticket.slice(0, -1),
  expired: async (auth) => {
    const { ticket } = auth.tickets.issue(await admin(auth));
    home.clock.advance(30_000);
    return ticket;
  },
  revoked: async (auth) => {
    const { token, token_id } = await auth.token();
    const { ticket } = auth.tickets.issue(await auth.login({ kind: "token", token }));
    await auth.request(await admin(auth), "token.revoke", { token_id });
    return ticket;
  },
  rotated: async (auth) => {
    const { token, token_id } = await auth.token();
    const { ticket } = auth.tickets.issue(await auth.login({ kind: "token", token }));
    await auth.request(await admin(auth), "token.rotate", { token_id });
    return ticket;
  },
};

const kinds: [string, Record<State, Make>, (secret: string) => Credential][] = [
  ["a token", tokens, (token) => ({ kind: "token", token })],
  ["a session_token as a token", sessions, (token) => ({ kind: "token", token })],
  ["a session_token", sessions, (token) => ({ kind: "session_token", token })],
  ["a ticket", tickets, (ticket) => ({ kind: "ticket", ticket })],
  ["a token in Basic's password", tokens, (password) => ({ kind: "password", password, basic: true })],
];

describe.each(["token", "none"])("mode %s", (mode) => {
  describe.each(kinds)("%s", (name, makes, present) => {
    test("right: lets in", async () => {
      const auth = await startAuth(home, { mode });
      const principal = await auth.login(present(await makes.right(auth)));
      expect(principal.user).toBe("owner");
      expect(auth.credentials.isLive(principal)).toBe(true);
    });

    const refused = Object.keys(makes).filter((state) => state !== "right") as State[];
    test.each(refused)("%s: refused, in one shape", async (state) => {
      const auth = await startAuth(home, { mode });
      const body = await refusal(auth.login(present(await makes[state](auth))));
      expect(body).toEqual({
        code: "UNAUTHORIZED",
        status: 4001,
        message: expect.any(String),
        retryable: false,
      });
      if (name !== "a ticket") expect(body.message.includes("expired")).toBe(state === "expired");
    });
  });

  test("what is no string is refused, never thrown", async () => {
    const auth = await startAuth(home, { mode });
    for (const junk of [null, undefined, 1, {}, [], "x".repeat(10_000)]) {
      for (const [, , present] of kinds) {
        const outcome = await auth.authenticator.authenticate(present(junk as string), FROM);
        expect(outcome).toMatchObject({ ok: false, error: { reason: "UNAUTHORIZED" } });
      }
    }
  });

  test.each(["password", "device"] as const)("a %s is refused with the mode's name", async (kind) => {
    const auth = await startAuth(home, { mode });
    const body = await refusal(
      auth.login(kind === "device" ? deviceCredential({}) : { kind, password: "secret" }),
    );
    expect(body).toMatchObject({ code: "UNAUTHORIZED" });
    expect(body.message).toContain(`auth.mode is "${mode}"`);
  });
});

test("nobody needs a credential in mode none, everybody else does", async () => {
  const open = await startAuth(home, { mode: "none" });
  const anybody = {
    user: "owner",
    scopes: new Set(SCOPES),
    method: "none",
    credential: null,
    expires_at: null,
  };
  expect(await open.login({ kind: "none" })).toEqual(anybody as Principal);
  const closed = await startAuth(home, { mode: "token" });
  const body = await refusal(closed.login({ kind: "none" }));
  expect(body.code).toBe("UNAUTHORIZED");
  expect(body.message).toContain("auth_token");
});

test("a token is no session_token, a session_token no ticket", async () => {
  const auth = await startAuth(home);
  const token = await tokens.right(auth);
  const session = await sessions.right(auth);
  expect(await refusal(auth.login({ kind: "session_token", token }))).toMatchObject({ code: "UNAUTHORIZED" });
  expect(await refusal(auth.login({ kind: "ticket", ticket: session }))).toMatchObject({
    code: "UNAUTHORIZED",
  });
});

describe("the configured token", () => {
  const configured: AuthChanges = { token: "a token of my own" };
  const presented: Credential[] = [
    { kind: "token", token: "a token of my own" },
    { kind: "password", password: "a token of my own", basic: true },
  ];

  test.each(presented)("lets the owner in: %p", async (credential) => {
    const auth = await startAuth(home, configured);
    expect(await auth.login(credential)).toEqual({
      user: "owner",
      scopes: new Set(SCOPES),
      method: "token",
      credential: "config",
      expires_at: null,
    });
  });

  const wrong: Credential[] = [
    { kind: "token", token: "a token of my ow" },
    { kind: "token", token: "" },
    { kind: "password", password: "a token of my own" },
    { kind: "session_token", token: "a token of my own" },
  ];
  test.each(wrong)("does not with %p", async (credential) => {
    const auth = await startAuth(home, configured);
    expect(await refusal(auth.login(credential))).toMatchObject({ code: "UNAUTHORIZED" });
  });

  test("no token in the configuration is not an empty one", async () => {
    const auth = await startAuth(home, { token: "" });
    expect(await refusal(auth.login({ kind: "token", token: "" }))).toMatchObject({ code: "UNAUTHORIZED" });
  });
});

describe("tickets", () => {
  test("work once, as who asked for them", async () => {
    const auth = await startAuth(home);
    const { token, token_id } = await auth.token({ user: "ann", role: "viewer" });
    const asked = await auth.login({ kind: "token", token });
    const answer = await auth.request<{ ticket: string; expires_at: number }>(asked, "ticket.create");
    expect(answer.expires_at).toBe(home.clock.now() + 30_000);
    const credential: Credential = { kind: "ticket", ticket: answer.ticket };
    expect(await auth.login(credential)).toMatchObject({
      user: "ann",
      method: "token",
      credential: token_id,
    });
    expect(await refusal(auth.login(credential))).toMatchObject({ code: "UNAUTHORIZED" });
  });

  test("of two at once only one comes in", async () => {
    const auth = await startAuth(home);
    const { ticket } = auth.tickets.issue(await admin(auth));
    const tries = await Promise.allSettled([1, 2, 3].map(() => auth.login({ kind: "ticket", ticket })));
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("are bounded, and those too old make room", async () => {
    const auth = await startAuth(home, { limits: { tickets: 2 } });
    const principal = await admin(auth);
    auth.tickets.issue(principal);
    home.clock.advance(10_000);
    auth.tickets.issue(principal);
    const body = await refusal(auth.request(principal, "ticket.create"));
    expect(body).toMatchObject({
      code: "RATE_LIMITED",
      details: { kind: "tickets" },
      retry_after_ms: 20_000,
    });
    home.clock.advance(20_000);
    expect(await auth.request(principal, "ticket.create")).toHaveProperty("ticket");
  });
});

test("refused logins are logged now and then, with their number and without their secrets", async () => {
  const auth = await startAuth(home);
  const refused = () => auth.lines.filter(({ message }) => message === "a login was refused");
  for (let i = 0; i < 5; i++) await refusal(auth.login({ kind: "token", token: `agb_guess-${i}` }));
  await refusal(auth.login({ kind: "none" }));
  expect(refused()).toEqual([
    { level: "warn", message: "a login was refused", ...FROM, credential: "token" },
  ]);
  home.clock.advance(10_000);
  await refusal(auth.login({ kind: "password", password: "guess" }));
  expect(refused()[1]).toMatchObject({ credential: "password", unsaid: 4 });
  expect(JSON.stringify(auth.lines)).not.toContain("guess");
});
