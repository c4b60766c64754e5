import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { refusal } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { ClusterNode, Nodes } from "./nodes.ts";
import { startNodes, within } from "./nodes.ts";

setDefaultTimeout(60_000);
let nodes: Nodes;
let a: ClusterNode;
let b: ClusterNode;
beforeAll(async () => {
  if (!hasPostgres) return;
  nodes = await startNodes({ count: 2 });
  [a, b] = [nodes.node(0), nodes.node(1)];
});
afterAll(async () => nodes?.[Symbol.asyncDispose]());

/** Within a second; who tries many wrong ones is told to wait. */
async function isRefused(node: ClusterNode, token: string): Promise<void> {
  const tried = () =>
    node
      .person(token)
      .call("session.list")
      .then(() => "OK")
      .catch(({ code }) => code as string);
  await within(tried, (code) => code === "UNAUTHORIZED" || code === "RATE_LIMITED");
}

/** A socket at the other node, and an event stream. */
async function guests(token: string) {
  const person = b.person(token);
  const socket = await person.connect({ client_id: "guest" });
  const { session_id } = await person.call("session.create", {});
  const stream = await person.events(`/api/v1/sessions/${session_id}/events`);
  return { person, socket, stream };
}

describe.skipIf(!hasPostgres)("credentials of one node at another", () => {
  test("a new token counts there at once, whichever is asked first", async () => {
    for (let round = 0; round < 5; round++) {
      const { token, token_id } = await a.owner.call("token.create", { name: "new", user: "ann" });
      expect(await b.person(token).call("session.list")).toMatchObject({ sessions: [] });
      const { session_token } = await b.person(token).call("auth_session.create");
      expect(await a.owner.call("auth_session.validate", { session_token })).toMatchObject({ user: "ann" });
      await b.owner.call("token.revoke", { token_id });
      await isRefused(a, token);
      await isRefused(a, session_token);
    }
  });

  test("one that is revoked or rotated ends what it let in there", async () => {
    for (const end of ["token.revoke", "token.rotate"]) {
      const { token, token_id } = await a.owner.call("token.create", { name: "t", user: "ann" });
      const { socket, stream } = await guests(token);
      const began = performance.now();
      const made = await a.owner.call(end, { token_id });
      expect(await socket.closed).toMatchObject({ code: 4001 });
      for await (const _ of stream);
      expect(performance.now() - began).toBeLessThan(5_000);
      await isRefused(b, token);
      if (end === "token.rotate")
        expect(await b.person(made.token).call("session.list")).toMatchObject({
          sessions: expect.any(Array),
        });
    }
  });

  test("a login ends there with a word here, and with the token it was made with", async () => {
    const { token, token_id } = await a.owner.call("token.create", { name: "t", user: "ann" });
    const login = async () => b.person(token).call("auth_session.create");
    const first = await login();
    const socket = await a.person(first.session_token).connect({ client_id: "guest" });
    await b.owner.call("auth_session.revoke", { auth_session_id: first.auth_session_id });
    expect(await socket.closed).toMatchObject({ code: 4001 });
    const second = await login();
    const other = await a.person(second.session_token).connect({ client_id: "guest" });
    await b.owner.call("token.revoke", { token_id });
    expect(await other.closed).toMatchObject({ code: 4001 });
  });

  test("a user who is disabled here is out there, and comes in again", async () => {
    const { token } = await a.owner.call("token.create", { name: "t", user: "eve" });
    const { person, socket, stream } = await guests(token);
    await a.owner.call("user.disable", { user: "eve" });
    await socket.closed;
    for await (const _ of stream);
    expect(await refusal(person.call("session.list"))).toMatchObject({ details: { kind: "disabled" } });
    await a.owner.call("user.disable", { user: "eve", disabled: false });
    await within(
      () => person.call("session.list").catch(() => null),
      (listed) => listed !== null,
    );
  });

  test("the local token of another node is another one as soon as it is revoked here", async () => {
    const { tokens } = await a.owner.call("token.list");
    const before = b.token;
    const file = Bun.file(`${b.gateway.data_dir}/token`);
    expect((await file.text()).trim()).toBe(before);
    const ids: string[] = tokens
      .filter(({ name }: { name: string }) => name === "local")
      .map(({ token_id }: { token_id: string }) => token_id);
    const own = (await a.owner.connect({ client_id: "me" })).request("system.status");
    await own;
    // Its own is replaced in the same step.
    for (const token_id of ids) {
      const token = (await Bun.file(`${a.gateway.data_dir}/token`).text()).trim();
      await a.person(token).call("token.revoke", { token_id });
    }
    const after = await within(
      async () => (await file.text()).trim(),
      (text) => text !== before,
    );
    expect(await b.person(after).call("token.list")).toMatchObject({ tokens: expect.any(Array) });
    await isRefused(a, before);
  });

  test("last uses that are told bring nothing back that was revoked", async () => {
    const admin = (await Bun.file(`${a.gateway.data_dir}/token`).text()).trim();
    const { token, token_id } = await a.person(admin).call("token.create", { name: "t", user: "ann" });
    await Promise.all([
      a.person(admin).call("token.revoke", { token_id }),
      ...Array.from({ length: 20 }, () =>
        b
          .person(token)
          .call("session.list")
          .catch(() => undefined),
      ),
    ]);
    await Bun.sleep(500);
    const [row] = (await nodes.sql.unsafe(
      `SELECT count(*)::int AS n FROM agentbus.records WHERE collection = 'token' AND id = '${token_id}'`,
    )) as { n: number }[];
    expect(row?.n).toBe(0);
  });
});
