import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Client, ClientOptions, ClientState } from "../../src/package/client.ts";
import { ConnectionError, GatewayError, createClient, deviceOf } from "../../src/package/client.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { until } from "../support/stub-gateway.ts";

const PASSWORD = "correct horse battery";
const LONG_MS = 60_000;

let gateway: RunningGateway;
let open: RunningGateway;
let admin: Client;
const clients: Client[] = [];

beforeAll(async () => {
  const password_hash = await Bun.password.hash(PASSWORD, {
    algorithm: "argon2id",
    memoryCost: 19_456,
    timeCost: 2,
  });
  [gateway, open] = await Promise.all([
    startGateway({ config: { auth: { mode: "multi", modes: ["password", "device"], password_hash } } }),
    startGateway({ env: { AGENTBUS_AUTH_MODE: "none" } }),
  ]);
  admin = createClient({ url: gateway.url, auth_token: gateway.token });
  await admin.connect();
}, LONG_MS);
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
});
afterAll(async () => {
  admin.disconnect();
  await Promise.all([gateway[Symbol.asyncDispose](), open[Symbol.asyncDispose]()]);
});

function make(options: Partial<ClientOptions> = {}): Client {
  const client = createClient({ url: gateway.url, transport: "sse", random: () => 0, ...options });
  clients.push(client);
  return client;
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => new Error("it succeeded"),
    (error: unknown) => error,
  );
}

async function logins(): Promise<string[]> {
  const { auth_sessions } = await admin.request("auth_session.list", {});
  return auth_sessions.map(({ auth_session_id }) => auth_session_id);
}

async function keys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
}

describe.each(["websocket", "sse"] as const)("over %s, a client comes in with", (transport) => {
  test("a token, a login, a password", async () => {
    const { session_token } = await admin.request("auth_session.create", {});
    for (const credential of [{ auth_token: gateway.token }, { session_token }, { password: PASSWORD }]) {
      const { auth_info, features } = await make({ transport, ...credential }).connect();
      expect([auth_info.user, auth_info.scopes]).toEqual(["owner", expect.arrayContaining(["admin"])]);
      expect(features.methods).toContain("chat.send");
      expect(features.events).toContain("message.delta");
    }
  });

  test("the key of a device", async () => {
    const device = await deviceOf(await keys());
    await admin.request("device.register", {
      public_key: device.public_key,
      user: "ada",
      scopes: ["chat.read"],
    });
    const { auth_info } = await make({ transport, device }).connect();
    expect([auth_info.user, auth_info.scopes]).toEqual(["ada", ["chat.read"]]);
  });

  test("the key of a device that is approved meanwhile", async () => {
    const device = await deviceOf(await keys(), {
      onPairing: ({ code }) => void admin.request("device.approve", { code, user: "bob", role: "user" }),
    });
    const { auth_info } = await make({ transport, device }).connect();
    expect(auth_info.user).toBe("bob");
  });

  test("nothing, where nothing is asked for", async () => {
    const client = make({ transport, url: open.url });
    await client.connect();
    const session = client.session();
    const { run_id } = await session.send("/long 2");
    expect((await client.request("run.wait", { run_id })).status).toBe("completed");
  });

  test("none that is wrong, and is told so once", async () => {
    const client = make({ transport, auth_token: "agb_wrong" });
    const states: ClientState["state"][] = [];
    client.on("state", ({ state }) => states.push(state));
    const refused = await failure(client.connect({ retry: true }));
    expect(refused).toBeInstanceOf(GatewayError);
    expect(refused).toMatchObject({ code: "UNAUTHORIZED", retryable: false });
    expect(states).toEqual(["connecting", "closed"]);
  });
});

test("a login that could not be looked at is looked at again: what it may do is known", async () => {
  const { session_token } = await admin.request("auth_session.create", {});
  let lost = 0;
  const client = make({
    session_token,
    fetch: async (url, init) => {
      if (url.endsWith("/auth_session.validate") && lost++ === 0) throw new TypeError("the line is cut");
      return fetch(url, init);
    },
  });
  const { auth_info } = await client.connect({ retry: true });
  expect(auth_info).toMatchObject({ user: "owner", scopes: expect.arrayContaining(["chat.write"]) });
});

test("a login over HTTP ends with its client", async () => {
  const before = await logins();
  const client = make({ password: PASSWORD });
  await client.connect();
  expect(await logins()).toHaveLength(before.length + 1);
  client.disconnect();
  for (;;) if ((await logins()).length === before.length) break;
});

test("a login over HTTP that was ended is made anew; one that was given is not", async () => {
  const before = await logins();
  const client = make({ auth_token: gateway.token });
  await client.connect();
  const [own] = (await logins()).filter((each) => !before.includes(each));
  await admin.request("auth_session.revoke", { auth_session_id: own! });
  expect(await failure(client.request("session.list", {}))).toBeInstanceOf(ConnectionError);
  expect((await client.request("session.list", {})).sessions).toBeArray();

  const given = await admin.request("auth_session.create", {});
  const guest = make({ session_token: given.session_token });
  await guest.connect();
  await admin.request("auth_session.revoke", { auth_session_id: given.auth_session_id });
  await failure(guest.request("session.list", {}));
  await until("the end", () => guest.state === "closed");
});

describe("files beside a socket have", () => {
  const upload = (client: Client): Promise<unknown> =>
    Promise.all(["one", "two", "three"].map((text) => client.upload(text, { name: "a.txt" })));

  /** Those of clients before may be going meanwhile. */
  const since = async (before: readonly string[]): Promise<string[]> =>
    (await logins()).filter((each) => !before.includes(each));

  test("one login, which is made anew where it was ended, and ends with the client", async () => {
    const before = await logins();
    const client = make({ transport: "websocket", auth_token: gateway.token });
    await client.connect();
    await upload(client);
    const own = await since(before);
    expect(own).toHaveLength(1);
    await admin.request("auth_session.revoke", { auth_session_id: own[0]! });
    await upload(client);
    const anew = await since(before);
    expect([anew.length, anew.includes(own[0]!)]).toEqual([1, false]);
    client.disconnect();
    for (;;) if ((await since(before)).length === 0) break;
  });

  test("the login that was given, which stays", async () => {
    const given = await admin.request("auth_session.create", {});
    const before = await logins();
    const client = make({ transport: "websocket", session_token: given.session_token });
    await client.connect();
    await upload(client);
    expect(await since(before)).toEqual([]);
    await admin.request("auth_session.revoke", { auth_session_id: given.auth_session_id });
    expect(await failure(upload(client))).toMatchObject({
      code: expect.stringMatching(/UNAUTHORIZED|ABORTED/),
    });
  });
});

test(
  "over HTTP a request and a stream whose line fell silent are asked for again",
  async () => {
    const silent = new Set(["/rpc/chat.send", "/events"]);
    const asked: string[] = [];
    const client = make({
      auth_token: gateway.token,
      fetch: (url, init) => {
        const path = [...silent].find((each) => new URL(url).pathname.endsWith(each));
        if (path === undefined) return fetch(url, init);
        silent.delete(path);
        asked.push(path);
        return new Promise((_, reject) => {
          init.signal?.addEventListener("abort", () => reject(new Error("aborted")));
        });
      },
    });
    await client.connect();
    const session = client.session();
    const sent = await session.send("/long 3");
    const { messages } = await session.state.until(({ runs }) => runs[0]?.status === "completed");
    expect(messages.map(({ message_id, content }) => [message_id === sent.message_id, content])).toEqual([
      [true, "/long 3"],
      [false, "1 2 3"],
    ]);
    expect(asked).toEqual(["/rpc/chat.send", "/events"]);
  },
  LONG_MS,
);
