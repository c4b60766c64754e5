import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { loadConfig } from "../../src/config.ts";
import { construct } from "../../src/gateway.ts";
import { routesOf, SOCKET_PATHS } from "../../src/transport/routes.ts";
import { Streams } from "../../src/transport/sse-hub.ts";
import { Turns } from "../../src/transport/turn.ts";
import { silentLog } from "../support/engine.ts";
import type { TestTailscaled } from "../support/tailscaled.ts";
import { requestUpgrade } from "../support/ws-client.ts";
import { gaps } from "./access-cover.ts";
import type { Secrets, State } from "./access-secrets.ts";
import { createSecrets, fromOutside, PARTS, startOpenMinded } from "./access-secrets.ts";
import type { Request, Way } from "./access-ways.ts";
import { send, WAYS } from "./access-ways.ts";
import { METHOD_CASES } from "./method-cases.ts";
import type { World } from "./world.ts";
import { createWorld } from "./world.ts";
import type { RouteCase } from "./route-cases.ts";
import { OPEN_ROUTES, OWN_SECRET_ROUTES, ROUTE_CASES } from "./route-cases.ts";
import type { Stack } from "./stack.ts";
import { ask } from "./stack.ts";

/** Who may ask for what over HTTP: every route there is, with every kind of credential in every state. */

/** Methods that any credential may call: what the gateway is, and one's own connection and logins. */
const ANYBODY = [
  "connect",
  "disconnect",
  "heartbeat",
  "system.info",
  "system.describe",
  "ticket.create",
  "auth_session.create",
  "auth_session.validate",
  "auth_session.list",
  "auth_session.revoke",
];
/** What a peer of the tailnet, who cannot pass itself on, is refused. */
const PASSING_ON = new Set(["ticket.create", "auth_session.create"]);

let stack: Stack & { tailscaled: TestTailscaled };
let world: World;
/** The same world, by the names others would have for it. */
let outside: World;
let secrets: Secrets;
let methods: { name: string; scope: string | null }[];
beforeAll(async () => {
  stack = await startOpenMinded();
  world = await createWorld(stack);
  outside = await fromOutside(world);
  secrets = await createSecrets(stack);
  ({ methods } = await stack.owner.call("system.describe"));
});
afterAll(() => stack[Symbol.asyncDispose]());

/** Every route, as the router is given it. */
function routes(): string[] {
  const { config } = loadConfig({ env: {}, cwd: import.meta.dir, flags: { "server.data_dir": "/" } });
  const { context } = construct({ config, log: silentLog, version: "", onFatal: () => undefined });
  const streams = new Streams(context, new Turns(() => 0));
  return routesOf(context, streams).map(({ verb, path }) => `${verb} ${path}`);
}

function scopeOf({ method }: RouteCase): string | null {
  return methods.find(({ name }) => name === method)?.scope ?? null;
}

async function requestOf(route: string, { request }: RouteCase, where = world): Promise<Request> {
  const [verb = ""] = route.split(" ");
  return { verb, ...(await request(where)) };
}

/** The routes a way is for. */
function routesFor({ place }: Way): [string, RouteCase][] {
  return Object.entries(ROUTE_CASES).filter(([, { streams }]) => (place === "sse") === (streams === true));
}

test("every method and every route is in the matrix, and needs what it is said to need", () => {
  const covered = {
    methods: Object.keys(METHOD_CASES),
    anybody: ANYBODY,
    routes: ROUTE_CASES,
    open: [...OPEN_ROUTES, ...OWN_SECRET_ROUTES],
  };
  expect(gaps({ methods, routes: routes() }, covered)).toEqual([]);
});

test("what the docs list is in the table of routes", async () => {
  const { json } = await ask(`${stack.gateway.url}/docs/json`, "GET");
  const listed = Object.entries(json.paths as Record<string, object>).flatMap(([path, verbs]) =>
    Object.keys(verbs).map((verb) => `${verb.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`),
  );
  const known = routes();
  const rpc = /^POST \/api\/v1\/rpc\/[a-z_.]+$/;
  const added = /^[A-Z]+ \/plugins\/matrix(?:\/below\/:it)?$/;
  const beside = listed.filter((route) => !known.includes(route) && !rpc.test(route));
  expect(beside.filter((route) => !added.test(route))).toEqual([]);
  expect(beside).toHaveLength(8);
});

test("nothing is registered beside the table but the socket's paths", async () => {
  // Where a socket is asked for is in the matrix of methods: here only that there is no more of it.
  const source = await Bun.file(`${import.meta.dir}/../../src/transport/http.ts`).text();
  const registrations = source.match(
    /\bapp\.(?:all|delete|get|group|head|mount|patch|post|put|route|use|ws)\(/g,
  );
  expect(registrations?.toSorted()).toEqual(["app.get(", "app.route("]);
  for (const path of SOCKET_PATHS) {
    expect((await requestUpgrade(`${stack.gateway.url}${path}`, { authorization: "Bearer x" })).status).toBe(
      401,
    );
  }
});

test("without a credential only what is open answers, in whatever state one is that it does not ask for", async () => {
  for (const [route, each] of Object.entries(ROUTE_CASES)) {
    const { verb, path, body } = await requestOf(route, each);
    const { status, json } = await ask(
      `${stack.gateway.url}${path}`,
      verb,
      body === undefined ? {} : { body },
    );
    expect([route, status, json.error.code]).toEqual([route, 401, "UNAUTHORIZED"]);
    expect([route, Object.keys(json)]).toEqual([route, ["error"]]);
  }
  for (const route of OWN_SECRET_ROUTES) {
    const [verb = "", path = ""] = route.split(" ");
    for (const headers of [{}, stack.owner.bearer] as Record<string, string>[]) {
      const { status } = await ask(`${stack.gateway.url}${path.replace(":name", "some")}`, verb, { headers });
      expect([route, status]).toEqual([route, 401]);
    }
  }
  const page = await (await fetch(stack.gateway.url)).text();
  const [, asset = ""] = /\/assets\/([^"]+)/.exec(page) ?? [];
  for (const route of OPEN_ROUTES) {
    const [verb = "", pattern = ""] = route.split(" ");
    const path = pattern.replace(":name", asset);
    for (const headers of [{}, { authorization: "Bearer agb_wrong" }] as Record<string, string>[]) {
      const answer = await ask(`${stack.gateway.url}${path}`, verb, { headers });
      expect([route, answer.status]).toEqual([route, 200]);
      expect(answer.text).not.toContain(world.run_id);
    }
  }
});

const HTTP_WAYS = WAYS.filter(({ place }) => place === "rest" || place === "sse");
let visitors = 0;

describe.each(HTTP_WAYS.map((way) => [way.name, way] as const))("%s", (_name, way) => {
  const { kind } = way;

  test("lets nobody in with one that is not right", async () => {
    for (const [state, secret] of Object.entries(secrets.dead[kind])) {
      // Wrong ones are counted by address, and a password is not known again.
      const from = `10.2.0.${++visitors}`;
      for (const [route, each] of routesFor(way)) {
        const { status, json } = await send(stack.gateway, way, secret, from, await requestOf(route, each));
        const refused = status === 401 || (status === 429 && kind === "password") ? "refused" : status;
        expect([state as State, route, refused]).toEqual([state as State, route, "refused"]);
        expect(Object.keys(json)).toEqual(["error"]);
      }
    }
  });

  test("lets nobody do what the scope is missing for", async () => {
    for (const scope of [...PARTS, "admin"]) {
      for (const [route, each] of routesFor(way).filter(([, found]) => scopeOf(found) === scope)) {
        const secret = await secrets.lacking(kind, scope);
        if (secret === null) continue;
        const { status, json } = await send(
          stack.gateway,
          way,
          secret,
          "10.3.0.1",
          await requestOf(route, each),
        );
        expect([route, status, json.error.details]).toEqual([route, 403, { kind: "scope", scope }]);
      }
    }
  });

  test("shows nobody what is somebody else's", async () => {
    for (const [route, each] of routesFor(way)) {
      if (scopeOf(each) === "admin") continue;
      const secret = await secrets.foreign(kind);
      if (secret === null) continue;
      const request = await requestOf(route, each, outside);
      const { status, text } = await send(stack.gateway, way, secret, "10.3.0.2", request);
      const asked = JSON.stringify(request);
      const named = [outside.session_id, outside.run_id].some((id) => asked.includes(id));
      if (named) expect([route, status]).toEqual([route, 404]);
      for (const id of [outside.session_id, world.run_id, world.message_id]) {
        expect([route, text.includes(id)]).toEqual([route, false]);
      }
    }
  });

  test("lets in who has the scope, and no other where it can be had alone", async () => {
    for (const [route, each] of routesFor(way)) {
      const secret = await secrets.right(kind, scopeOf(each), METHOD_CASES[each.method]?.lent);
      const { status, text } = await send(
        stack.gateway,
        way,
        secret,
        "10.3.0.3",
        await requestOf(route, each),
      );
      const logsOut = kind === "session_token" && route.startsWith("DELETE /api/v1/auth_sessions");
      const refused = kind === "tailnet" && PASSING_ON.has(each.method);
      expect([route, status, text]).toEqual([route, logsOut ? 200 : refused ? 403 : each.status, text]);
    }
  });
});
