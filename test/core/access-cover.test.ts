import { describe, expect, test } from "bun:test";
import type { Covered, Surface } from "../gateway/access-cover.ts";
import { gaps } from "../gateway/access-cover.ts";

/** The check of what the matrix of access knows finds what it does not know. */

const SURFACE: Surface = {
  methods: [
    { name: "system.info", scope: null },
    { name: "chat.send", scope: "chat.write" },
  ],
  routes: ["GET /health", "POST /api/v1/chat"],
};
const COVERED: Covered = {
  methods: ["system.info", "chat.send"],
  anybody: ["system.info"],
  routes: { "POST /api/v1/chat": { method: "chat.send" } },
  open: ["GET /health"],
};

function withMethod(name: string, scope: string | null): Surface {
  return { ...SURFACE, methods: [...SURFACE.methods, { name, scope }] };
}

test("what is known leaves no gap", () => {
  expect(gaps(SURFACE, COVERED)).toEqual([]);
});

describe("a method", () => {
  const cased: Covered = { ...COVERED, methods: [...COVERED.methods, "x.y"] };
  test.each([
    ["without a case", withMethod("x.y", "admin"), COVERED, ["x.y has no case"]],
    ["without a scope", withMethod("x.y", null), cased, ["x.y needs no scope"]],
    ["without either", withMethod("x.y", null), COVERED, ["x.y needs no scope", "x.y has no case"]],
    [
      "with a scope that is none",
      withMethod("x.y", "chat.reed"),
      cased,
      ["x.y needs chat.reed, which is no scope"],
    ],
    [
      "that has a scope now",
      { ...SURFACE, methods: [{ name: "system.info", scope: "admin" }, ...SURFACE.methods.slice(1)] },
      COVERED,
      ["system.info needs admin and is said to need none"],
    ],
    ["that is gone", SURFACE, cased, ["x.y is no method"]],
    ["twice", withMethod("chat.send", "chat.write"), COVERED, ["chat.send is there twice"]],
  ])("%s is one", (_what, surface, covered, found) => {
    expect(gaps(surface, covered)).toEqual(found);
  });
});

describe("a route", () => {
  const more: Surface = { ...SURFACE, routes: [...SURFACE.routes, "GET /x"] };
  test.each([
    ["without a case", more, COVERED, ["GET /x has no case"]],
    [
      "with another verb",
      { ...SURFACE, routes: [...SURFACE.routes, "POST /health"] },
      COVERED,
      ["POST /health has no case"],
    ],
    ["that is gone", SURFACE, { ...COVERED, open: [...COVERED.open, "GET /x"] }, ["GET /x is no route"]],
    [
      "that is both open and not",
      SURFACE,
      { ...COVERED, open: [...COVERED.open, "POST /api/v1/chat"] },
      ["POST /api/v1/chat is open and has a case"],
    ],
    [
      "of a method that is none",
      more,
      { ...COVERED, routes: { ...COVERED.routes, "GET /x": { method: "x.y" } } },
      ["GET /x is x.y, which is no method"],
    ],
    [
      "twice",
      { ...SURFACE, routes: [...SURFACE.routes, "GET /health"] },
      COVERED,
      ["GET /health is there twice"],
    ],
    [
      "named as an object names things",
      { ...SURFACE, routes: [...SURFACE.routes, "toString"] },
      COVERED,
      ["toString has no case"],
    ],
  ])("%s is one", (_what, surface, covered, found) => {
    expect(gaps(surface, covered)).toEqual(found);
  });
});
