import { afterAll, beforeAll, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, crowd, openArena } from "./beside.ts";

/** Every field of every method there is, with every value it is not made for: refused or done, and never a bug. */

interface Schema {
  readonly type?: string;
  readonly properties?: Record<string, Schema>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly Schema[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly items?: Schema;
  readonly pattern?: string;
}
interface Described {
  readonly name: string;
  readonly params: Schema;
}

/** As JSON, so that it is sent as it stands. */
const VALUES: readonly string[] = [
  "null",
  "true",
  "0",
  "-0",
  "-1",
  "0.5",
  "1e308",
  "1e999",
  "9007199254740993",
  '""',
  '" "',
  '"\\u0000"',
  '"a\\r\\nb"',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"__proto__"',
  '"constructor"',
  '"ses_00000000000000000000000000"',
  '"../../etc/passwd"',
  '"%s%n${x}{{y}}"',
  '"\'; DROP TABLE sessions; --"',
  `"${"x".repeat(300)}"`,
  `"${"y".repeat(20_000)}"`,
  `"${"\\u0301".repeat(500)}"`,
  "[]",
  "[null]",
  '["x","x"]',
  "[[[[[[[[[[]]]]]]]]]]",
  "{}",
  '{"__proto__":{"admin":true}}',
  '{"toString":"x","length":1e9}',
  '{"a":{"b":{"c":[1,{"d":null}]}}}',
];
/** These end the connection, or answer when they please. */
const OTHERS = new Set(["disconnect", "connect"]);

let arena: Arena;
let sockets: TestSocket[];
let methods: readonly Described[];
beforeAll(async () => {
  const auth = {
    mode: "multi",
    modes: ["token", "device", "password"],
    password: "a password nobody guesses",
  };
  const limits = { ...ANY_RATE, bad_frames_per_minute: 1_000_000 };
  arena = await openArena({ config: { auth, limits } });
  const headers = { authorization: `Bearer ${arena.gateway.token}` };
  sockets = await Promise.all(Array.from({ length: 4 }, () => openSocket(arena.gateway.ws_url, { headers })));
  ({ methods } = await (sockets[0] as TestSocket).request("system.describe"));
});
afterAll(async () => {
  for (const socket of sockets) await socket[Symbol.asyncDispose]();
  await arena[Symbol.asyncDispose]();
});

/** Something a field takes, for those that are not looked at. */
function plausible(schema: Schema): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.anyOf !== undefined) return plausible(schema.anyOf[0] ?? {});
  if (schema.type === "integer" || schema.type === "number") return schema.minimum ?? 1;
  if (schema.type === "boolean") return false;
  if (schema.type === "array") return [];
  if (schema.type === "object") return required(schema);
  return "some-id";
}
function required({ properties = {}, required: names = [] }: Schema): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, plausible(properties[name] ?? {})]));
}

/** Params as text, each with one field that is odd. */
function oddities({ params }: Described): string[] {
  const fields = Object.keys(params.properties ?? {});
  return fields.flatMap((field) => {
    const rest = Object.entries(required(params)).filter(([name]) => name !== field);
    const others = rest.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)},`).join("");
    return VALUES.map((value) => `{${others}${JSON.stringify(field)}:${value}}`);
  });
}

let asked = 0;
/** "ok", or the code of the error. */
async function overSocket(socket: TestSocket, method: string, params: string): Promise<string> {
  const id = `f${++asked}`;
  socket.send(`{"type":"req","id":"${id}","method":"${method}","params":${params}}`);
  const { json } = await socket.next((frame) => frame.json.id === id, 20_000);
  if (typeof json.payload?.token === "string") arena.secret(json.payload.token);
  return json.ok === true ? "ok" : json.error.code;
}

test(
  "over a socket and over REST",
  () =>
    arena.beside(async () => {
      const cases = methods
        .filter(({ name }) => !OTHERS.has(name))
        .flatMap((method) => oddities(method).map((params) => [method.name, params] as const));
      expect(cases.length).toBeGreaterThan(2_000);
      const codes = new Map<string, number>();
      const headers = { authorization: `Bearer ${arena.gateway.token}` };
      await crowd(cases.length, sockets.length, async (index) => {
        const [method, params] = cases[index] ?? ["", "{}"];
        const socket = sockets[index % sockets.length] as TestSocket;
        const code = await overSocket(socket, method, params);
        if (code === "INTERNAL_ERROR") throw new Error(`${method} ${params.slice(0, 300)}`);
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (index % 5 > 0) return;
        const { status } = await arena.ask("POST", `/api/v1/rpc/${method}`, { headers, body: params });
        if (status === 500) throw new Error(`${method} ${params.slice(0, 300)} over REST`);
      });
      expect(codes.get("INVALID_REQUEST")).toBeGreaterThan(1_000);
    }),
  60_000,
);

interface Operation {
  readonly parameters?: readonly { readonly in: string; readonly name: string }[];
}
const TEXTS = VALUES.map((value) => {
  const read: unknown = JSON.parse(value);
  return typeof read === "string" ? read.toWellFormed().slice(0, 4_000) : value;
});

test(
  "in every place of every route that is documented",
  () =>
    arena.beside(async () => {
      const { url, token } = arena.gateway;
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      const { paths } = (await (await fetch(`${url}/docs/json`)).json()) as {
        paths: Record<string, Record<string, Operation>>;
      };
      const requests: [verb: string, path: string][] = [];
      for (const [path, operations] of Object.entries(paths)) {
        for (const [verb, { parameters = [] }] of Object.entries(operations)) {
          const queries = ["x", ...parameters.filter((each) => each.in === "query").map(({ name }) => name)];
          for (const text of TEXTS) {
            const odd = encodeURIComponent(text);
            if (path.includes("{")) requests.push([verb, path.replaceAll(/\{\w+\}/g, odd)]);
            const plain = path.replaceAll(/\{\w+\}/g, "none");
            for (const name of queries) requests.push([verb, `${plain}?${name}=${odd}`]);
          }
        }
      }
      expect(requests.length).toBeGreaterThan(1_000);
      await crowd(requests.length, 8, async (index) => {
        const [verb, path] = requests[index] ?? ["", ""];
        const method = verb.toUpperCase();
        const body = method === "POST" || method === "PATCH" ? { body: "{}" } : {};
        const response = await fetch(`${url}${path}`, { method, headers, ...body, redirect: "manual" });
        await response.body?.cancel();
        if (response.status >= 500) throw new Error(`${method} ${path.slice(0, 300)}: ${response.status}`);
      });
    }),
  60_000,
);
