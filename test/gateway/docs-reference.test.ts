import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { refreshDocs } from "../../scripts/docs.ts";
import { RECONNECT_CLOSE_CODES } from "../../src/protocol/errors.ts";
import { deviceFromKey } from "../support/device.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { openSocket } from "../support/ws-client.ts";
import { blocksOf, ROOT } from "./docs.blocks.ts";

const TIMEOUT_MS = 60_000;
const REFERENCE = read("docs/protocol.md");
const DOCUMENTS = [
  "README.md",
  "SECURITY.md",
  "docs/protocol.md",
  "docs/observability.md",
  "docs/golden/README.md",
];

function read(file: string): string {
  return readFileSync(resolve(ROOT, file), "utf8");
}

describe("against the definitions", () => {
  test("what is generated is fresh", () => {
    expect(refreshDocs(false)).toBe("fresh");
  });

  test("the close codes after which a client comes back", () => {
    const rows = REFERENCE.split("\n").filter((line) => /^\| [\d, ]+ \|.*\| comes back/.test(line));
    const codes = rows.flatMap((row) => (row.split("|")[1] ?? "").split(",").map(Number));
    expect(new Set(codes)).toEqual(new Set(RECONNECT_CLOSE_CODES));
  });

  test("the example of a device's signature is right", () => {
    const [, text = "", signature = ""] = /^(agentbus-device-v1\|\S*\d)\n(\S{86})$/m.exec(REFERENCE) ?? [];
    const [, seed = "", public_key = ""] =
      /private key `(\S{43})`, whose public key is\s+`(\S{43})`/.exec(REFERENCE) ?? [];
    const device = deviceFromKey(seed);
    expect([device.public_key, device.signText(text)]).toEqual([public_key, signature]);
    const [, server_id = "", device_id, client_id = "", origin, scopes = "", nonce = "", time] =
      text.split("|");
    expect([device_id, origin]).toEqual([device.device_id, ""]);
    const signing = { server_id, client_id, scopes: scopes.split(","), nonce, timestamp: Number(time) };
    expect(device.prove(signing).signature).toBe(signature);
  });

  test("every details.kind of the sources is told in docs/protocol.md", () => {
    const kinds = new Set<string>();
    for (const folder of ["method", "transport", "core", "auth", "protocol", "provider"]) {
      for (const file of new Bun.Glob("**/*.ts").scanSync(resolve(ROOT, "src", folder))) {
        const source = read(`src/${folder}/${file}`);
        for (const [, kind = ""] of source.matchAll(/details: \{\s*kind: "([a-z_]+)"/g)) kinds.add(kind);
      }
    }
    // Those end the start of a gateway, so no client reads them.
    for (const inner of ["listen", "token_file", "password_hash"]) kinds.delete(inner);
    const said = REFERENCE.slice(
      REFERENCE.indexOf("What `details.kind` can be"),
      REFERENCE.indexOf("After TIMEOUT,"),
    );
    expect(kinds.size).toBeGreaterThan(20);
    expect([...kinds].filter((kind) => !said.includes(`\`${kind}\``))).toEqual([]);
  });
});

describe("against a gateway", () => {
  let gateway: RunningGateway;
  beforeAll(async () => {
    gateway = await startGateway();
  }, TIMEOUT_MS);
  afterAll(() => gateway[Symbol.asyncDispose]());

  test(
    "every route is told, and every route that is told exists",
    async () => {
      const { paths } = (await (await fetch(`${gateway.url}/docs/json`)).json()) as {
        paths: Record<string, Record<string, unknown>>;
      };
      const real = Object.entries(paths)
        .filter(([path]) => !path.startsWith("/api/v1/rpc/"))
        .flatMap(([path, verbs]) =>
          Object.keys(verbs).map((verb) => `${verb.toUpperCase()} ${nameless(path)}`),
        );
      const told = [...REFERENCE.matchAll(/`(GET|POST|PATCH|DELETE) (\/[^`\s{]*)`/g)].map(
        ([, verb, path = ""]) => `${verb} ${nameless(path)}`,
      );
      // The documents describe themselves nowhere, nor pages for people; the methods are a list of their own.
      const beside = new Set(["GET /docs", "GET /docs/json", "GET /", "GET /assets/:", "POST /api/v1/rpc/:"]);
      expect(new Set(told.filter((route) => !beside.has(route)))).toEqual(new Set(real));
      expect(real.length).toBeGreaterThan(20);
    },
    TIMEOUT_MS,
  );

  test(
    "what connect answers is told",
    async () => {
      await using socket = await openSocket(gateway.ws_url);
      const { policy, features } = await socket.request("connect", { auth_token: gateway.token });
      const handshake = REFERENCE.slice(REFERENCE.indexOf("## Handshake"), REFERENCE.indexOf("## Errors"));
      expect(Object.keys(policy).filter((name) => !handshake.includes(`\`${name}\``))).toEqual([]);
      const { methods, events } = features as { methods: string[]; events: string[] };
      expect(methods.filter((name) => !REFERENCE.includes(`### ${name}\n`))).toEqual([]);
      expect(events.filter((name) => !REFERENCE.includes(`| \`${name}\` |`))).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

/** A path without the names of its parameters. */
function nameless(path: string): string {
  return path.replaceAll(/\{[a-z_]+\}|:[a-z_]+/g, ":");
}

for (const file of DOCUMENTS) {
  test(`${file}: links lead somewhere, named files exist, JSON is JSON`, () => {
    const text = read(file);
    // In a block of code a pattern may look like a link.
    const prose = text.replaceAll(/^```.*?^```/gms, "");
    const broken = [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link = ""]) => link)
      .filter((link) => !/^https?:/.test(link) && !leadsSomewhere(file, link));
    expect(broken).toEqual([]);
    const named = [...text.matchAll(/`((?:src|test|scripts|docs|bench|examples)\/[A-Za-z0-9_./-]+)`/g)];
    const missing = named.map(([, path = ""]) => path).filter((path) => !existsSync(resolve(ROOT, path)));
    expect(missing).toEqual([]);
    for (const [, name = "", path = ""] of text.matchAll(/`([A-Z][A-Za-z]+)` of `(src\/[^`]+)`/g)) {
      expect(read(path)).toMatch(new RegExp(`^export (interface|type) ${name}\\b`, "m"));
    }
    for (const block of blocksOf(file)) {
      if (block.words[0] === "json") expect(() => JSON.parse(block.text) as unknown).not.toThrow();
    }
  });
}

function leadsSomewhere(from: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? from : resolve(ROOT, dirname(from), path);
  if (!existsSync(resolve(ROOT, target))) return false;
  return anchor === undefined || anchorsOf(readFileSync(resolve(ROOT, target), "utf8")).has(anchor);
}

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((each) =>
      each
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}
