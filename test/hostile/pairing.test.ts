import { afterAll, beforeAll, expect, test } from "bun:test";
import type { TestDevice } from "../support/device.ts";
import { newDevice } from "../support/device.ts";
import { openSocket, RefusedRequest } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, crowd, openArena } from "./beside.ts";
import type { Outcome } from "./raw-device.ts";
import { proveOver } from "./raw-device.ts";

/** Codes that are guessed, used twice or too late, and more strangers than anybody wants to look at. */

const TTL_SECS = 2;
const MOST = 64;
const HERE_MOST = 4;
const GUESSES = 200;
const STRANGERS = 500;
// Other addresses than 127.0.0.1 are there on Linux alone.
const linux = test.skipIf(process.platform !== "linux");

let arena: Arena;
beforeAll(async () => {
  const auth = { mode: "multi", modes: ["token", "device"] };
  arena = await openArena({ config: { auth, limits: { ...ANY_RATE, pairing_ttl_secs: TTL_SECS } } });
});
afterAll(() => arena[Symbol.asyncDispose]());

const come = (device: TestDevice, more: Record<string, unknown> = {}, address?: string): Promise<Outcome> =>
  proveOver(
    arena,
    (challenge) => ({ ...device.prove(challenge) }),
    more,
    address === undefined ? {} : { address },
  );

/** A request of a device nobody knows; its code. */
async function askToPair(device: TestDevice): Promise<string> {
  const { code, details } = await come(device);
  expect([code, details.kind]).toEqual(["UNAUTHORIZED", "pairing"]);
  return details.code ?? "";
}
/** What a method refuses with, or null. */
async function refusalOf(
  method: string,
  params: Record<string, unknown>,
  token: string,
): Promise<string | null> {
  await using socket = await openSocket(arena.gateway.ws_url, {
    headers: { authorization: `Bearer ${token}` },
  });
  return await socket.request(method, params).then(
    () => null,
    (error: unknown) => (error instanceof RefusedRequest ? error.code : String(error)),
  );
}
/** Resolves once no request is open. */
async function noneLeft(): Promise<void> {
  while ((await arena.call("device.list")).pairing_requests.length > 0) await Bun.sleep(50);
}
let guessed = 0;
/** Of the right form. */
function guess(): string {
  const letters = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
  const text = Array.from({ length: 8 }, (_, i) => letters[(guessed >> (i * 3)) % letters.length]).join("");
  guessed++;
  return `${text.slice(0, 4)}-${text.slice(4)}`;
}

linux("a code is guessed ten times by a user, who then waits; others approve meanwhile", () =>
  arena.beside(async (round) => {
    const { token } = await arena.guest({ user: `mallory${round}`, role: "operator" });
    const device = newDevice();
    const code = await askToPair(device);
    await using socket = await openSocket(arena.gateway.ws_url, {
      headers: { authorization: `Bearer ${token}` },
    });
    const outcomes: string[] = [];
    for (let i = 0; i < GUESSES; i++) {
      const method = ["device.approve", "device.reject"][i % 2] ?? "";
      const params = { code: guess(), ...(i % 2 === 0 && { scopes: ["chat.read"] }) };
      outcomes.push(
        await socket.request(method, params).then(
          () => "right",
          (error: RefusedRequest) => error.code,
        ),
      );
    }
    expect(new Set(outcomes)).toEqual(new Set(["NOT_FOUND", "RATE_LIMITED"]));
    expect(outcomes.filter((outcome) => outcome === "NOT_FOUND").length).toBeLessThan(20);
    // Who waits is told nothing by the right one either; who may not pair is not told anything at all.
    expect(await refusalOf("device.approve", { code, scopes: [] }, token)).toBe("RATE_LIMITED");
    const user = await arena.guest({ user: `trent${round}`, role: "user" });
    for (const each of [code, guess()]) {
      expect(await refusalOf("device.approve", { code: each, scopes: [] }, user.token)).toBe("FORBIDDEN");
    }
    expect(await refusalOf("device.list", {}, user.token)).toBe("FORBIDDEN");
    await arena.call("device.approve", { code, scopes: ["chat.read"] });
    expect((await come(device)).code).toBe("ok");
  }),
);

linux("a code is used once, by whoever is first, and not after its time", () =>
  arena.beside(async (round) => {
    // Who was wrong too often in one round waits in the next.
    const { token } = await arena.guest({ user: `alice${round}`, role: "admin" });
    const device = newDevice();
    const code = await askToPair(device);
    const approve = (): Promise<unknown> => arena.call("device.approve", { code, role: "viewer" }, token);
    const answers = await Promise.allSettled(Array.from({ length: 8 }, approve));
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await expect(approve()).rejects.toThrow("NOT_FOUND");
    expect((await come(device)).code).toBe("ok");
    const late = newDevice();
    const expired = await askToPair(late);
    await noneLeft();
    await expect(arena.call("device.approve", { code: expired, role: "viewer" }, token)).rejects.toThrow(
      "NOT_FOUND",
    );
    expect((await come(late)).details.kind).toBe("pairing_expired");
    // One that was refused stays so for a while, however often it asks.
    const refused = newDevice();
    await arena.call("device.reject", { code: await askToPair(refused) });
    for (let i = 0; i < 5; i++) expect((await come(refused)).code).toBe("FORBIDDEN");
  }),
);

linux("strangers without end take their places, and leave them; a device that was admitted comes in", () =>
  arena.beside(async () => {
    const device = newDevice();
    await arena.call("device.register", {
      public_key: device.public_key,
      user: "owner",
      scopes: ["chat.read"],
    });
    const outcomes = new Map<string, number>();
    const count = ({ code, details }: Outcome): void => {
      const outcome = `${code} ${details.kind}`;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    };
    for (let i = 0; i < 20; i++) count(await come(newDevice(), {}, "127.5.0.1"));
    expect(outcomes.get("UNAUTHORIZED pairing")).toBe(HERE_MOST);
    const odd = { client_name: "\u202e\r\n\0<script>", platform: '"}}\n{"level":"error"' };
    await crowd(STRANGERS, 32, async () => count(await come(newDevice(), odd)));
    expect((await come(device)).code).toBe("ok");
    const { pairing_requests } = await arena.call("device.list");
    expect(pairing_requests.length).toBeLessThanOrEqual(MOST);
    expect([...outcomes.keys()].toSorted()).toEqual(["RATE_LIMITED pairing", "UNAUTHORIZED pairing"]);
    await noneLeft();
    await askToPair(newDevice());
  }),
);
