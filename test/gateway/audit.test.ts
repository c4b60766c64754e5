import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConfigTable } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { ask, eventually, refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
async function entries(filter: Record<string, unknown> = {}, of = owner): Promise<any[]> {
  return (await of.call("audit.list", { limit: 200, ...filter })).entries;
}

describe("who did what, from where, and what came of it", () => {
  test("a token's whole life", async () => {
    const grant = { name: "phone", user: "life", role: "viewer" };
    await using socket = await owner.connect({ client_id: "desk" });
    const { token, token_id } = await socket.request("token.create", grant);
    await owner.call("token.rotate", { token_id });
    expect(await refusal(stack.person(token).call("system.info"))).toMatchObject({ code: "UNAUTHORIZED" });
    await owner.call("token.revoke", { token_id });
    const made = await entries({ action: "token" });
    const about = made.filter(({ target }) => target === token_id).toReversed();
    const by = { outcome: "ok", user: "owner", method: "token", remote: "127.0.0.1", count: 1 };
    expect(about).toMatchObject([
      { ...by, action: "token.create", transport: "ws", client_id: "desk", details: grant },
      { ...by, action: "token.rotate", transport: "rest", client_id: "rest" },
      { ...by, action: "token.revoke", transport: "rest" },
    ]);
    for (const { credential, ts } of about) {
      expect(credential).toStartWith("tok_");
      expect(ts).toBeWithin(Date.now() - 60_000, Date.now() + 1_000);
    }
  });

  test("logins, right and wrong, each once however often they are repeated", async () => {
    const guest = await stack.guest({ user: "visitor", role: "user" });
    const named = { headers: { "x-client-id": "script" }, body: {} };
    for (let i = 0; i < 5; i++) await guest.ask("POST", "/api/v1/rpc/system.info", named);
    await using socket = await openSocket(stack.gateway.ws_url);
    await socket.request("connect", { auth_token: guest.token, client_id: "phone" });
    const right = await eventually(
      () => entries({ action: "login", user: "visitor" }),
      (all) => all.length === 2,
    );
    const { token_id } = (await owner.call("token.list")).tokens.find(
      ({ user }: { user: string }) => user === "visitor",
    );
    const login = { outcome: "ok", method: "token", credential: token_id, remote: "127.0.0.1" };
    expect(right.map(({ transport, client_id }) => [transport, client_id])).toEqual([
      ["ws", "phone"],
      ["rest", "script"],
    ]);
    expect(right).toMatchObject([login, login]);
    const wrong = `agb_${"w".repeat(43)}`;
    for (let i = 0; i < 30; i++) await refusal(stack.person(wrong).call("system.info")).catch(() => null);
    const other = await openSocket(stack.gateway.ws_url);
    other.send({
      type: "req",
      id: "h",
      method: "connect",
      params: { session_token: `ags_${"w".repeat(43)}` },
    });
    await other.closed;
    const failed = await eventually(
      () => entries({ action: "login", outcome: "refused" }),
      (all) => all.some(({ method }) => method === "session_token"),
    );
    // The same wrong token reads the same answer, so it is one kind; nobody is named, and no secret.
    expect(failed.filter(({ method }) => method === "token").length).toBeLessThanOrEqual(2);
    for (const each of failed) expect(each).toMatchObject({ user: "", remote: "127.0.0.1" });
    expect(JSON.stringify(failed)).not.toContain("wwww");
  });

  test("who sends nothing where something is needed has not tried to log in", async () => {
    const before = await entries({ action: "login", outcome: "refused" });
    await ask(`${stack.gateway.url}/api/v1/rpc/system.info`, "POST", { body: {} });
    expect(await entries({ action: "login", outcome: "refused" })).toEqual(before);
  });

  test("auth sessions, shares, deletions and disconnections", async () => {
    const ann = await stack.guest({ user: "ann", role: "operator" });
    const { auth_session_id } = await ann.call("auth_session.create");
    await ann.call("auth_session.revoke", { auth_session_id });
    const { session_id } = await ann.call("session.create");
    await ann.call("session.share", { session_id, user: "bob", role: "viewer" });
    await ann.call("session.unshare", { session_id, user: "bob" });
    await ann.call("session.delete", { session_id });
    const socket = await ann.connect();
    const { server_info } = await socket.request("connect", {});
    await ann.call("client.disconnect", { connection_id: server_info.connection_id });
    await refusal(ann.call("token.list"));
    expect(await refusal(ann.call("token.create", { name: "more", role: "admin" }))).toMatchObject({
      code: "FORBIDDEN",
    });
    const all = await eventually(
      () => entries({ user: "ann" }),
      (found) => found.some(({ action }) => action === "token.create"),
    );
    const seen = all.filter(({ action }) => action !== "login").toReversed();
    expect(seen.map(({ action, outcome, target }) => [action, outcome, target])).toEqual([
      ["auth_session.create", "ok", auth_session_id],
      ["auth_session.revoke", "ok", auth_session_id],
      ["session.share", "ok", session_id],
      ["session.unshare", "ok", session_id],
      ["session.delete", "ok", session_id],
      ["client.disconnect", "ok", server_info.connection_id],
      ["token.create", "FORBIDDEN", undefined],
    ]);
  });

  test("a session is named by the gateway's id, whatever its owner calls it", async () => {
    await owner.call("session.create", { session_id: "mine" });
    await owner.call("session.share", { session_id: "mine", user: "ann", role: "viewer" });
    const [share] = await entries({ action: "session.share", user: "owner" });
    expect(share.target).toStartWith("ses_");
  });
});

test("only an administrator reads it", async () => {
  const operator = await stack.guest({ user: "op", role: "operator" });
  expect(await refusal(entries({}, operator))).toMatchObject({
    code: "FORBIDDEN",
    details: { scope: "admin" },
  });
});

test("filters that make no sense are refused with the field that does not", async () => {
  for (const [field, value] of [
    ["cursor", "x"],
    ["action", "token.create; drop"],
    ["outcome", "%"],
    ["limit", 201],
    ["since", -1],
    ["user", "a b"],
  ] as const) {
    const refused = await refusal(owner.call("audit.list", { [field]: value }));
    expect([field, refused]).toMatchObject([field, { code: "INVALID_REQUEST", details: { path: field } }]);
  }
});

test("it survives a restart, which notes what changed of the configuration, and nothing secret is in the store", async () => {
  const before = await entries({ action: "token" });
  const { gateway } = stack;
  gateway.kill();
  await gateway.exited;
  await gateway.restart();
  expect(await entries({ action: "token" })).toEqual(before);
  expect(await entries({ action: "config" })).toEqual([]);
  const files = readdirSync(gateway.data_dir).filter((name) => name.startsWith("agentbus.db"));
  const stored = files.map((name) => readFileSync(join(gateway.data_dir, name), "latin1")).join("");
  expect(stored).toContain("token.revoke");
  for (const secret of [owner.token, "wwwwwwww"]) expect(stored.includes(secret)).toBe(false);
});

test("a configuration that is another than at the start before is noted, by the names of its options alone", async () => {
  const data_dir = await mkdtemp(join(tmpdir(), "agentbus-audit-"));
  const options = async (config: ConfigTable): Promise<unknown> => {
    await using gateway = await startGateway({ config, data_dir });
    const answer = await ask(`${gateway.url}/api/v1/rpc/audit.list`, "POST", {
      body: { action: "config.change" },
      headers: { authorization: `Bearer ${gateway.token}` },
    });
    expect(answer.text).not.toContain("whisper");
    return answer.json.entries.map(({ details }: { details: { options: string[] } }) => details.options);
  };
  const llm = { providers: { mine: { base_url: "http://127.0.0.1:9", api_key: "sk-whisper" } } };
  expect(await options({ agent: { system_prompt: "whisper" } })).toEqual([]);
  expect(await options({ agent: { system_prompt: "whisper" } })).toEqual([]);
  const agent = { system_prompt: "another whisper", max_concurrent_runs: 3 };
  const first = ["agent.system_prompt", "agent.max_concurrent_runs"];
  expect(await options({ agent })).toEqual([first]);
  const [second, ...rest] = (await options({ agent, llm })) as string[][];
  expect(rest).toEqual([first]);
  expect(second).toContain("llm.providers.mine.api_key");
  await rm(data_dir, { recursive: true, force: true });
}, 60_000);
