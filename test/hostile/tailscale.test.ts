import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import type { TestTailscaled } from "../support/tailscaled.ts";
import { startTailscaled } from "../support/tailscaled.ts";
import type { Arena } from "./beside.ts";
import { crowd, openArena, until } from "./beside.ts";
import { dial, head } from "./raw-peer.ts";

/** Who says of themselves that they are somebody on the tailnet, directly and through a proxy that passes it on. */

const ADA = "100.101.102.103";
const LOGIN = "ada@example.com";
const AT_ONCE = 32;

let tailscaled: TestTailscaled;
let arena: Arena;
beforeAll(async () => {
  tailscaled = await startTailscaled({ [ADA]: { login: LOGIN } });
  const users = { '"ada@example.com"': { user: "ada", role: "admin" } };
  const auth = { mode: "tailscale", tailscale: { socket: tailscaled.socket, users } };
  arena = await openArena({ config: { server: { trusted_proxies: ["127.0.0.1"] }, auth } });
});
beforeEach(() => void (tailscaled.asked.length = 0));
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
  await tailscaled[Symbol.asyncDispose]();
});

/** What a request without a credential is answered, through the proxy. */
async function list(headers: Record<string, string>): Promise<number> {
  return (await arena.ask("GET", "/api/v1/sessions", { headers })).status;
}

test("who is right comes in", async () => {
  expect(await list({ "tailscale-user-login": LOGIN, "x-forwarded-for": ADA })).toBe(200);
});

// Other addresses than 127.0.0.1 are there on Linux alone.
test.skipIf(process.platform !== "linux")(
  "headers, from an address that is no proxy's, are not even looked up",
  () =>
    arena.beside(async () => {
      const forged = { "Tailscale-User-Login": LOGIN, "X-Forwarded-For": ADA, "X-Real-IP": ADA };
      await crowd(400, AT_ONCE, async (index) => {
        const peer = await dial(arena.port, `127.0.3.${(index % 250) + 1}`);
        await peer.write(`${head("GET /api/v1/sessions", arena.port, forged)}\r\n`);
        await until(() => peer.bytes > 0, "an answer");
        expect(peer.text.split(" ", 2)[1]).toBe("401");
        peer[Symbol.dispose]();
      });
      expect(tailscaled.asked).toEqual([]);
    }),
);

test(
  "thousands of addresses and logins through the proxy are nobody, a few asked about at once",
  () =>
    arena.beside(async () => {
      await crowd(3_000, AT_ONCE, async (index) => {
        const address = `100.64.${index >> 8}.${index & 255}`;
        const login = index % 3 === 0 ? LOGIN : `guess-${index}@example.com`;
        const hops = index % 2 === 0 ? address : `${ADA}, ${address}`;
        expect(await list({ "tailscale-user-login": login, "x-forwarded-for": hops })).toBe(401);
      });
      expect(tailscaled.most).toBeLessThanOrEqual(4);
      expect(await list({ "tailscale-user-login": LOGIN, "x-forwarded-for": ADA })).toBe(200);
      expect(await list({ "tailscale-user-login": "guess@example.com", "x-forwarded-for": ADA })).toBe(401);
    }),
  120_000,
);

test.each([
  ["says nothing", "silent" as const],
  ["never stops", "endless" as const],
  ["says nonsense", { raw: "\u0000\u00ff\r\n\r\n" }],
])(
  "a tailscaled that %s lets nobody in and keeps nobody waiting for long",
  async (_what, how) => {
    await tailscaled.misbehave(how);
    await arena.beside(async () => {
      await crowd(200, 100, async (index) => {
        const address = `100.100.${index}.${Math.floor(Math.random() * 250)}`;
        expect(await list({ "tailscale-user-login": LOGIN, "x-forwarded-for": address })).toBe(401);
      });
      const authorization = `Bearer ${arena.gateway.token}`;
      expect(await list({ authorization })).toBe(200);
    });
    await tailscaled.misbehave(null);
  },
  120_000,
);
