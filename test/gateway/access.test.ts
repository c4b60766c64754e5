import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TestTailscaled } from "../support/tailscaled.ts";
import { openSocket, RefusedRequest } from "../support/ws-client.ts";
import type { Secrets, State } from "./access-secrets.ts";
import { createSecrets, fromOutside, PARTS, startOpenMinded } from "./access-secrets.ts";
import type { Secret, Way } from "./access-ways.ts";
import { behind, enter, send, upgrade, WAYS } from "./access-ways.ts";
import { METHOD_CASES } from "./method-cases.ts";
import type { World } from "./world.ts";
import { createWorld } from "./world.ts";
import type { Stack } from "./stack.ts";
import { ask } from "./stack.ts";

/** Who may call what: every method there is, with every kind of credential in every state, in every place it can be shown. */

const NAMES = Object.keys(METHOD_CASES);
/** A wrong one of these is slowed down, too: there is no knowing it again. */
const THROTTLED = new Set(["password", "device"]);

let stack: Stack & { tailscaled: TestTailscaled };
let world: World;
let secrets: Secrets;
let scopes: Map<string, string | null>;
/** The same world, by the names others would have for it. */
let outside: World;
/** Methods that are about a session or a run of somebody's. */
let bound: Set<string>;
beforeAll(async () => {
  stack = await startOpenMinded();
  world = await createWorld(stack);
  secrets = await createSecrets(stack);
  const { methods } = await stack.owner.call("system.describe");
  scopes = new Map(methods.map((each: Described) => [each.name, each.scope]));
  bound = new Set(methods.filter(isBound).map((each: Described) => each.name));
  outside = await fromOutside(world);
});
afterAll(() => stack[Symbol.asyncDispose]());

interface Described {
  readonly name: string;
  readonly scope: string | null;
  readonly params: {
    readonly properties?: Readonly<Record<string, unknown>>;
    readonly required?: readonly string[];
  };
}

function isBound({ params: { required = [] } }: Described): boolean {
  return required.includes("session_id") || required.includes("run_id");
}

function rpc(way: Way, secret: Secret, from: string, name: string, params: Record<string, unknown> = {}) {
  return send(stack.gateway, way, secret, from, { verb: "POST", path: `/api/v1/rpc/${name}`, body: params });
}

/** How it ends: its error code, or "ok". */
async function outcome(work: Promise<unknown>): Promise<{ code: string; details?: unknown; text: string }> {
  try {
    return { code: "ok", text: JSON.stringify(await work) };
  } catch (error) {
    if (!(error instanceof RefusedRequest)) throw error;
    return { code: error.code, details: error.details, text: error.message };
  }
}

let visitors = 0;
/** An address that nobody came from yet. */
function somewhere(): string {
  visitors++;
  return `10.0.${visitors >> 8}.${visitors & 255}`;
}

describe("nothing, over", () => {
  test("REST", async () => {
    for (const name of NAMES) {
      const { status, json, headers } = await ask(`${stack.gateway.url}/api/v1/rpc/${name}`, "POST", {
        body: {},
      });
      expect([name, status, json.error.code]).toEqual([name, 401, "UNAUTHORIZED"]);
      expect(headers.get("www-authenticate")).toStartWith("Bearer");
      // What the method would have said is not told.
      expect(Object.keys(json)).toEqual(["error"]);
    }
  });

  test.each([
    ["a socket", false],
    ["a socket that said connect", true],
  ])("%s", async (_what, greets) => {
    for (const name of NAMES) {
      await using socket = await openSocket(stack.gateway.ws_url);
      if (greets) socket.send({ type: "req", id: "h", method: "connect", params: {} });
      socket.send({ type: "req", id: "m", method: name, params: {} });
      const { code } = await socket.closed;
      const answers = socket.frames.map(({ json }) => json).filter(({ type }) => type === "res");
      const refused = greets ? "h" : "m";
      const expected = [name, 4001, [[refused, false, "UNAUTHORIZED"]]];
      expect([name, code, answers.map(({ id, ok, error }) => [id, ok, error?.code])]).toEqual(expected);
    }
  });
});

describe.each(WAYS.map((way) => [way.name, way] as const))("%s", (_name, way) => {
  const { kind, place } = way;
  /** "refused" for the codes that say no more than that. */
  const said = (code: string): string =>
    code === "UNAUTHORIZED" || (code === "RATE_LIMITED" && THROTTLED.has(kind)) ? "refused" : code;
  const states: State[] = ["none", "empty", "wrong", "expired", "revoked", "rotated", "disabled", "used"];

  test("lets nobody in with one that is not right", async () => {
    for (const state of states) {
      const secret = secrets.dead[kind][state];
      if (secret === undefined) continue;
      if (place === "rest") await refusedOverRest(way, secret, state);
      else if (place === "connect") await refusedInConnect(way, secret, state);
      else if (place === "upgrade") await refusedAtUpgrade(way, secret, state);
    }
  });

  /** At once, but for what takes its time: of that only so many may wait. */
  async function forEach(names: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
    if (!THROTTLED.has(kind)) return void (await Promise.all(names.map(work)));
    for (const name of names) await work(name);
    return undefined;
  }

  async function refusedOverRest(rest: Way, secret: Secret, state: State): Promise<void> {
    const from = somewhere();
    await forEach(NAMES, async (name) => {
      const { status, json } = await rpc(rest, secret, from, name);
      expect([state, name, said(json.error.code)]).toEqual([state, name, "refused"]);
      expect([401, 429]).toContain(status);
      expect(Object.keys(json)).toEqual(["error"]);
    });
  }

  /** And nothing that was sent behind it is answered. */
  async function refusedInConnect(connect: Way, secret: Secret, state: State): Promise<void> {
    const from = somewhere();
    const names = NAMES.filter((each) => each !== "connect");
    await forEach(names, async (name) => {
      const { codes: seen, close } = await behind(stack.gateway, connect, secret, from, name);
      // An empty one is no connect at all, so the request behind it is what ends the socket.
      const malformed = state === "empty" && kind !== "tailnet";
      const wanted = malformed ? ["INVALID_REQUEST", "refused"] : ["refused"];
      expect([state, name, seen.map(said)]).toEqual([state, name, wanted]);
      expect([4001, 4008, 4029]).toContain(close);
    });
  }

  async function refusedAtUpgrade(at: Way, secret: Secret, state: State): Promise<void> {
    const from = somewhere();
    // Who shows nothing may still do so in connect.
    if (kind === "tailnet") {
      await forEach(NAMES, async (name) => {
        const seen = await behind(stack.gateway, at, secret, from, name);
        expect([state, name, seen]).toMatchObject([state, name, { close: 4001 }]);
        expect(seen.codes).not.toContain("answered");
      });
      return;
    }
    const refused = await upgrade(stack.gateway, at, secret, from);
    const { error } = (await refused.json()) as { error: { code: string } };
    expect([state, said(error.code)]).toEqual([state, "refused"]);
    expect([401, 429]).toContain(refused.status);
  }

  if (place === "sse") return;

  test("lets nobody do what the scope is missing for", async () => {
    for (const scope of [...PARTS, "admin"]) {
      const secret = await secrets.lacking(kind, scope);
      if (secret === null) continue;
      const from = somewhere();
      await using socket = place === "rest" ? null : await enter(stack.gateway, way, secret, from);
      for (const name of NAMES.filter((each) => scopes.get(each) === scope)) {
        const params = (await METHOD_CASES[name]?.params(world)) ?? {};
        if (socket === null) {
          // What only a socket has is no REST resource at all.
          const isResource = METHOD_CASES[name]?.socket === undefined;
          const { status, json } = await rpc(way, secret, from, name, params);
          expect([name, status]).toEqual([name, isResource ? 403 : 400]);
          expect(json.error.details).toEqual(isResource ? { kind: "scope", scope } : { kind: "socket" });
          continue;
        }
        const seen = await outcome(socket.request(name, params));
        expect([name, seen]).toMatchObject([name, { code: "FORBIDDEN", details: { kind: "scope", scope } }]);
      }
      // A refusal is no reason to end the socket.
      if (socket !== null) expect(await socket.request("system.info")).toMatchObject({ name: "agentbus" });
    }
  });

  test("shows nobody what is somebody else's", async () => {
    const secret = await secrets.foreign(kind);
    if (secret === null) return;
    const from = somewhere();
    await using socket = place === "rest" ? null : await enter(stack.gateway, way, secret, from);
    for (const name of NAMES) {
      const { socket: only, params } = METHOD_CASES[name] ?? { params: () => ({}) };
      if (scopes.get(name) === "admin" || only === "own" || (socket === null && only !== undefined)) continue;
      const given = await params(outside);
      const work =
        socket === null
          ? rpc(way, secret, from, name, given).then(({ json }) => {
              if (json.error !== undefined) throw new RefusedRequest(json.error);
              return json;
            })
          : socket.request(name, given);
      const { code, text } = await outcome(work);
      if (bound.has(name) || "session_id" in given) expect([name, code]).toEqual([name, "NOT_FOUND"]);
      for (const id of [outside.session_id, world.run_id, world.message_id])
        expect([name, text.includes(id)]).toEqual([name, false]);
    }
  });

  test("lets in who has the scope, and no other where it can be had alone", async () => {
    const from = somewhere();
    for (const name of NAMES) {
      const { socket: only, params, lent } = METHOD_CASES[name] ?? { params: () => ({}) };
      const secret = await secrets.right(kind, scopes.get(name) ?? null, lent);
      if (place === "rest") {
        if (only !== undefined) continue;
        const answer = await rpc(way, secret, from, name, await params(world));
        expect([name, answer.status, answer.text]).toEqual([
          name,
          mayNot(name) ? 403 : 200,
          expect.anything(),
        ]);
        continue;
      }
      await using socket = await enter(stack.gateway, way, secret, from);
      if (name === "connect") {
        expect(await outcome(socket.request("connect", {}))).toMatchObject({
          code: place === "connect" ? "CONFLICT" : "ok",
        });
        continue;
      }
      const { code, text } = await outcome(socket.request(name, await params(world)));
      expect([name, code, text]).toEqual([name, mayNot(name) ? "FORBIDDEN" : "ok", text]);
    }
  });

  /** A peer of the tailnet cannot pass itself on. */
  function mayNot(name: string): boolean {
    return kind === "tailnet" && (name === "ticket.create" || name === "auth_session.create");
  }
});
