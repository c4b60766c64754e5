import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeCertificate, shownAt } from "../support/certificates.ts";
import { workplace } from "../support/executable.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import { startTailscaled } from "../support/tailscaled.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { Stack } from "./stack.ts";
import { ask, ended, eventually, refusal, startStack } from "./stack.ts";

setDefaultTimeout(60_000);

const SERVER = join(import.meta.dir, "../support/mcp-server.ts");
const PATIENCE_MS = 30_000;
const HAS_OPENSSL = needs("openssl", "openssl");

/** Has the gateway read its file with this in place of that. */
async function change({ gateway, owner }: Stack, from: string, to: string) {
  const toml = readFileSync(gateway.config_file, "utf8");
  if (!toml.includes(from)) throw new Error(`the file has no ${from}`);
  writeFileSync(gateway.config_file, toml.replaceAll(from, to));
  return await owner.call("system.reload");
}

test("a tool server that goes answers what it was asked, one that is new comes, another is not touched", async () => {
  const shop = { command: process.execPath, args: [SERVER] };
  const servers = { stays: shop, goes: { ...shop, env: { SLOW_MS: "1500" } } };
  await using stack = await startStack({
    config: { mcp: { servers }, tools: { builtin: [], policy: { "*": "allow" } } },
  });
  const { owner, model } = stack;
  const states = async () =>
    Object.fromEntries(
      (await owner.call("tool.list")).servers.map(({ name, state }: Record<string, string>) => [name, state]),
    );
  await eventually(states, (all) => Object.values(all).every((state) => state === "ready"), PATIENCE_MS);
  const call = async (session_id: string, tool: string) => {
    model.reply().tool(tool, {});
    model.reply().text("told");
    return (await owner.call("chat.send", { session_id, message: "go" })).run_id as string;
  };
  const answerOf = async (session_id: string) => {
    const { messages } = await owner.call("chat.history", { session_id });
    return messages.find(({ role }: { role: string }) => role === "tool")?.content;
  };
  await ended(owner, await call("first", "stays.bump"));
  const run = await call("slow", "goes.slow");
  await eventually(
    async () => (await owner.call("session.get", { session_id: "slow" })).head,
    (head) => head >= 5,
    PATIENCE_MS,
  );
  // No event says that the call has begun, once it is in the log.
  await Bun.sleep(300);
  const { changed } = await change(stack, "goes", "new");
  expect(changed.every((path: string) => /^mcp\.servers\.(?:goes|new)\./.test(path))).toBe(true);
  expect(await states()).toMatchObject({ stays: "ready", new: expect.any(String) });
  expect(await states()).not.toHaveProperty("goes");
  expect((await ended(owner, run)).status).toBe("completed");
  expect(await answerOf("slow")).toBe("it was slow");
  await eventually(states, (all) => all["new"] === "ready", PATIENCE_MS);
  // The same process as before counts on.
  await ended(owner, await call("second", "stays.bump"));
  expect(await answerOf("second")).toBe("2");
});

test("a login of the tailnet that is taken out is out, on open connections too; others stay", async () => {
  const [ada, bob] = ["100.101.102.103", "100.64.0.7"];
  await using tailscaled = await startTailscaled({
    [ada]: { login: "ada@example.com" },
    [bob]: { login: "bob@example.com" },
  });
  const users = {
    '"ada@example.com"': { user: "ada", role: "user" },
    '"bob@example.com"': { user: "bob", role: "viewer" },
  };
  await using stack = await startStack({
    config: {
      server: { trusted_proxies: ["127.0.0.1"] },
      auth: { mode: "tailscale", tailscale: { socket: tailscaled.socket, users } },
    },
  });
  const from = (address: string, login: string) => ({
    "x-forwarded-for": address,
    "tailscale-user-login": login,
  });
  const { ws_url, url } = stack.gateway;
  await using first = await openSocket(ws_url, { headers: from(ada, "ada@example.com") });
  await using second = await openSocket(ws_url, { headers: from(bob, "bob@example.com") });
  await Promise.all([first.request("connect"), second.request("connect")]);
  expect((await change(stack, "bob@example.com", "eve@example.com")).changed).toEqual([
    "auth.tailscale.users",
  ]);
  await second.closed;
  expect(await first.request("heartbeat")).toHaveProperty("ts");
  const { status } = await ask(`${url}/api/v1/sessions`, "GET", { headers: from(bob, "bob@example.com") });
  expect(status).toBe(401);
});

test.skipIf(!HAS_OPENSSL)(
  "a certificate in other files: new connections see it, open ones stay; a wrong one is refused",
  async () => {
    using place = workplace();
    const [one, two] = [makeCertificate(place.path, "one"), makeCertificate(place.path, "two")];
    const other = makeCertificate(place.path, "other");
    await using gateway = await startGateway({
      config: { server: { tls: { cert: one.cert_file, key: one.key_file } } },
    });
    const tls = { ca: [one.cert, two.cert], rejectUnauthorized: false };
    const headers = { authorization: `Bearer ${gateway.token}` };
    await using socket = await openSocket(gateway.ws_url, { headers, tls });
    const toml = readFileSync(gateway.config_file, "utf8");
    writeFileSync(gateway.config_file, toml.replaceAll("/one.", "/two."));
    expect((await socket.request("system.reload")).changed).toEqual(["server.tls.cert", "server.tls.key"]);
    await eventually(
      () => shownAt(gateway.address),
      (shown) => shown === two.fingerprint,
      PATIENCE_MS,
    );
    writeFileSync(gateway.config_file, toml.replace(one.key_file, other.key_file));
    expect(await refusal(socket.request("system.reload"))).toMatchObject({
      details: { kind: "configuration" },
    });
    expect(await socket.request("heartbeat")).toHaveProperty("ts");
    writeFileSync(gateway.config_file, "");
    expect(await socket.request("system.reload")).toMatchObject({
      restart_needed: expect.arrayContaining(["server.tls.cert", "server.tls.key"]),
    });
  },
);

test("sockets that are turned off, room on the disk, and what a part says in the log", async () => {
  await using stack = await startStack({
    config: { gateway: { enabled: true }, storage: { min_free_bytes: 0 } },
  });
  const { owner, gateway } = stack;
  await using socket = await owner.connect({});
  const ready = async () => (await ask(`${gateway.url}/ready`, "GET")).json;
  expect(await ready()).toMatchObject({ checks: { disk: { ok: true } } });
  await change(stack, "min_free_bytes = 0", `min_free_bytes = ${Number.MAX_SAFE_INTEGER}`);
  expect(await ready()).toMatchObject({
    checks: { disk: { ok: false, reason: expect.stringContaining("storage.min_free_bytes") } },
  });
  expect(await owner.call("system.status")).toMatchObject({
    status: "degraded",
    storage: { ok: true, reason: expect.stringContaining("storage.min_free_bytes") },
  });
  await change(
    stack,
    "[gateway]\nenabled = true",
    '[gateway]\nenabled = false\n[log]\nlevels = { config = "debug" }',
  );
  expect((await requestUpgrade(gateway.ws_url)).status).toBe(404);
  expect(await socket.request("heartbeat")).toHaveProperty("ts");
  await owner.call("system.reload");
  await eventually(
    () => gateway.log.filter(({ level, component }) => level === "debug" && component === "config").length,
    (lines) => lines > 0,
  );
  expect(gateway.log.filter(({ level, component }) => level === "debug" && component !== "config")).toEqual(
    [],
  );
});
