import { expect, test } from "bun:test";
import { expandScopes, listScopes, storedScopes } from "../../src/auth/scopes.ts";
import { credentialFromHeader } from "../../src/core/principal.ts";
import type { Scope } from "../../src/protocol/schema.ts";
import { SCOPES } from "../../src/protocol/schema.ts";

type Role = Parameters<typeof expandScopes>[0];

const USER: Scope[] = ["chat.read", "chat.write", "tools.approve", "sessions.manage"];
const OPERATOR: Scope[] = [...USER, "system.read", "clients.manage", "devices.manage", "events.broadcast"];

interface Grant {
  readonly name: string;
  readonly role?: Role;
  readonly scopes?: Scope[];
  readonly expected: readonly Scope[];
}
const grants: Grant[] = [
  { name: "viewer", role: "viewer", expected: ["chat.read"] },
  { name: "user", role: "user", expected: USER },
  { name: "operator", role: "operator", expected: OPERATOR },
  { name: "admin", role: "admin", expected: SCOPES },
  { name: "nothing said", expected: USER },
  { name: "no scopes said", scopes: [], expected: [] },
  { name: "scopes alone", scopes: ["system.read"], expected: ["system.read"] },
  {
    name: "a role and more",
    role: "viewer",
    scopes: ["system.read"],
    expected: ["chat.read", "system.read"],
  },
  { name: "the scope admin", scopes: ["admin"], expected: SCOPES },
  { name: "a role and the scope admin", role: "viewer", scopes: ["admin"], expected: SCOPES },
];

test.each(grants)("a grant: $name", ({ role, scopes, expected }) => {
  const granted = expandScopes(role, scopes);
  expect([...granted].toSorted()).toEqual([...expected].toSorted());
  expect(granted.has("admin")).toBe(expected.length === SCOPES.length);
});

test("scopes are listed in one order, and those nobody knows are not granted", () => {
  expect(listScopes(new Set<Scope>(["sessions.manage", "chat.read"]))).toEqual([
    "chat.read",
    "sessions.manage",
  ]);
  expect(listScopes(storedScopes(["chat.read", "fly", "__proto__"]))).toEqual(["chat.read"]);
  expect(listScopes(storedScopes([]))).toEqual([]);
  expect(listScopes(storedScopes(["admin"]))).toEqual([...SCOPES]);
});

const issued = `agb_${"A".repeat(43)}`;
const login = `ags_${"b".repeat(43)}`;
const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

const headers: [string | null, unknown][] = [
  [null, { kind: "none" }],
  [`Bearer ${issued}`, { kind: "token", token: issued }],
  [`bearer  ${login} `, { kind: "token", token: login }],
  ["BEARER anything", { kind: "token", token: "anything" }],
  [basic(`gateway:${issued}`), { kind: "token", token: issued }],
  [basic(`gateway:${login}`), { kind: "token", token: login }],
  [basic("gateway:pass:wörd"), { kind: "password", password: "pass:wörd", basic: true }],
  [basic(`gateway:${issued}x`), { kind: "password", password: `${issued}x`, basic: true }],
];

test.each(headers)("the header %p is read", (header, credential) => {
  expect(credentialFromHeader(header)).toEqual({ ok: true, credential } as never);
});

const malformed = [
  "",
  "Bearer",
  "Bearer ",
  "Bearer a b",
  "Bearer a, Bearer b",
  issued,
  `Token ${issued}`,
  "Basic",
  "Basic %%%",
  basic("gateway"),
  basic("gateway:"),
  basic(`root:${issued}`),
  basic(`:${issued}`),
  `Basic ${Buffer.from([0x67, 0x3a, 0xff]).toString("base64")}`,
];

test.each(malformed)("the header %p is refused", (header) => {
  const read = credentialFromHeader(header);
  expect(read.ok ? read.credential : read.error.toBody().code).toBe("UNAUTHORIZED" as never);
});
