import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type { Server } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { makeCertificate } from "../support/certificates.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, openArena } from "./beside.ts";

/** A model that was told to look around: where the gateway is, beside it, and in its files. */

const MIB = 1024 * 1024;
const folder = mkdtempSync(join(tmpdir(), "agentbus-fetch-"));
/** What the gateway has to reach nothing of. */
let inner: Bun.Server<undefined>;
let entered = 0;
/** What it may reach, and what leads on from there. */
let site: Bun.Server<undefined>;
let answer: (request: Request) => Response;
let poured: Server;
let secure: Bun.Server<undefined>;
let model: ModelServer;
let arena: Arena;

beforeAll(async () => {
  inner = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch() {
      entered++;
      return new Response("what is inside");
    },
  });
  site = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request) => answer(request) });
  poured = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    const pour = (): void => {
      while (socket.writable && socket.write("x".repeat(64 * 1024)));
    };
    socket.on("drain", pour);
    pour();
  });
  await new Promise<void>((resolve) => poured.listen(0, "127.0.0.1", resolve));
  const authority = makeCertificate(folder, "authority", { authority: true });
  const leaf = makeCertificate(folder, "leaf", { by: authority, names: ["DNS:localhost"] });
  secure = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert: leaf.cert, key: leaf.key },
    fetch: (request) =>
      request.url.endsWith("/down") ? moved(`http://${open()}/`) : new Response("over TLS"),
  });
  model = await startModelServer();
  const work = join(folder, "work");
  await Bun.write(join(work, "notes.md"), "what may be read");
  await Bun.write(join(folder, "outside"), "what may not");
  arena = await openArena({
    env: {
      NODE_EXTRA_CA_CERTS: authority.cert_file,
      HTTP_PROXY: `http://127.0.0.1:${inner.port}`,
      NO_PROXY: "localhost",
    },
    config: {
      limits: ANY_RATE,
      llm: {
        default_provider: "test",
        default_model: "test/model",
        providers: { test: { base_url: model.url().replace("127.0.0.1", "localhost"), max_retries: 0 } },
      },
      tools: {
        builtin: ["http_fetch", "read_file", "list_files"],
        http_allow: [open(), portOf(poured), `localhost:${secure.port}`, `127.0.0.1:${secure.port}`],
        workspace: work,
        policy: { "*": "allow" },
      },
    },
  });
  symlinkSync(join(folder, "outside"), join(work, "link"));
  symlinkSync(arena.gateway.data_dir, join(work, "data"));
  writeFileSync(join(work, "zero"), "");
});
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
  model.stop();
  poured.close();
  await Promise.all([inner, site, secure].map((each) => each.stop(true)));
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  entered = 0;
  answer = () => new Response("hello");
});

function open(): string {
  return `127.0.0.1:${site.port}`;
}
function portOf(server: Server): string {
  const address = server.address();
  return `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}
function moved(location: string): Response {
  return new Response(null, { status: 302, headers: { location } });
}

let sessions = 0;
/** What the model is told of each of its calls, all made in one answer. */
async function told(name: string, calls: readonly object[]): Promise<{ ok: boolean; content: string }[]> {
  const session_id = `f${++sessions}`;
  const reply = model.reply();
  for (const args of calls) reply.tool(name, args);
  model.reply().text("done");
  const { run_id } = await arena.call("chat.send", { session_id, message: "look around" });
  const run = await arena.call("run.wait", { run_id, timeout_ms: 50_000 });
  expect(run.status).toBe("completed");
  const { messages } = await arena.call("chat.history", { session_id, limit: 200 });
  return messages
    .filter(({ role }: { role: string }) => role === "tool")
    .map(({ content, parts }: { content: string; parts: { ok: boolean }[] }) => ({
      content,
      ok: parts[0]?.ok,
    }));
}

/** The same server in every way to write its address. */
function notations(port: number | undefined): string[] {
  const hosts = [
    "127.0.0.1 2130706433 0x7f000001 0177.0.0.1 0x7f.1 127.1 127.0.0.1. 0 0.0.0.0 127.0.0.2 127.255.255.254",
    "[::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:1] [::1] [::] [::127.0.0.1] [64:ff9b::7f00:1]",
    "[2002:7f00:1::] [fe80::1%25lo] localhost LOCALHOST. ⓛⓞⓒⓐⓛⓗⓞⓢⓣ １２７。０。０。１ %31%32%37.0.0.1",
    "127.0.0.1%00 user@127.0.0.1",
  ].flatMap((line) => line.split(" "));
  return hosts.map((host) => `http://${host}:${port}/`);
}
const METADATA = [
  "http://169.254.169.254/latest/meta-data/",
  "http://[fd00:ec2::254]/",
  "http://0xA9FEA9FE/",
  "http://100.100.100.200/",
];
const REFUSED = /not on the public internet|no URL|no user and password|is not known|only http and https/;

describe("a URL that a model gives", () => {
  test("leads nowhere inside, however it is written", () =>
    arena.beside(async () => {
      const own = notations(arena.port);
      const urls = [
        ...notations(inner.port),
        ...own,
        ...METADATA,
        "file:///etc/passwd",
        `gopher://127.0.0.1:${inner.port}/`,
      ];
      const answers = await told(
        "http_fetch",
        urls.map((url) => ({ url })),
      );
      expect(answers).toHaveLength(urls.length);
      expect(urls.filter((_, at) => answers[at]?.ok !== false || !REFUSED.test(answers[at].content))).toEqual(
        [],
      );
      expect(entered).toBe(0);
    }));

  test("leads nowhere inside by way of what may be reached", () =>
    arena.beside(async () => {
      // A header holds ASCII.
      const ways = [
        ...notations(inner.port).filter((url) => !/[^ -~]/.test(url)),
        ...METADATA,
        `//127.0.0.1:${inner.port}/`,
        "file:///etc/passwd",
      ];
      answer = ({ url }) => moved(ways[Number(new URL(url).searchParams.get("way"))] ?? "/");
      const urls = ways.map((_, way) => ({ url: `http://${open()}/?way=${way}` }));
      const answers = await told("http_fetch", urls);
      expect(ways.filter((_, at) => answers[at]?.ok !== false || !REFUSED.test(answers[at].content))).toEqual(
        [],
      );
      expect(entered).toBe(0);
    }));

  test("is fetched where it is allowed, over no proxy; redirects without end are not", () =>
    arena.beside(async () => {
      answer = ({ url }) => (url.endsWith("/loop") ? moved("/loop") : new Response("hello"));
      const [fine, loop] = await told("http_fetch", [
        { url: `http://${open()}/` },
        { url: `http://${open()}/loop` },
      ]);
      expect(fine).toEqual({ ok: true, content: expect.stringContaining("hello") });
      expect(loop).toEqual({ ok: false, content: "there are more than 5 redirects" });
      expect(entered).toBe(0);
    }));

  test("over TLS is answered by who has the name, and leads to nothing that is in the clear", () =>
    arena.beside(async () => {
      const at = (host: string, path = "/"): object => ({ url: `https://${host}:${secure.port}${path}` });
      const answers = await told("http_fetch", [at("localhost"), at("127.0.0.1"), at("localhost", "/down")]);
      expect(answers).toEqual([
        { ok: true, content: expect.stringContaining("over TLS") },
        { ok: false, content: "127.0.0.1 cannot be reached: its certificate is for another name" },
        { ok: false, content: "localhost leads from https to http, which is not followed" },
      ]);
    }));

  test("whose answer never ends, or is a bomb, is read up to a bound", () =>
    arena.beside(async () => {
      const bomb = gzipSync(Buffer.alloc(256 * MIB, 48), { level: 1 });
      const packed = (type: string): Response =>
        new Response(bomb, { headers: { "content-type": type, "content-encoding": "gzip" } });
      answer = ({ url }) => packed(url.endsWith("page") ? "text/html" : "text/plain");
      const ways = [portOf(poured), `${open()}/text`, `${open()}/page`, `${open()}/a/page`];
      const answers = await told(
        "http_fetch",
        ways.map((way) => ({ url: `http://${way}` })),
      );
      for (const { ok, content } of answers) {
        expect(ok).toBe(true);
        expect(content).toMatch(/Only the first (?:65536|1048576) bytes were read\./);
        expect(Buffer.byteLength(content)).toBeLessThanOrEqual(64 * 1024);
      }
    }));
});

test("files outside of the workspace, and the gateway's own, are not shown", () =>
  arena.beside(async () => {
    const paths = [
      "../outside",
      "link",
      "data/token",
      join(arena.gateway.data_dir, "token"),
      "/etc/passwd",
      "/proc/self/environ",
    ];
    const answers = await told(
      "read_file",
      paths.map((path) => ({ path })),
    );
    expect(answers.map(({ ok }) => ok)).toEqual(paths.map(() => false));
    const [listed, data, notes] = [
      await told("list_files", [{ glob: "**/*" }]),
      await told("list_files", [{ path: "data" }, { path: ".." }]),
      await told("read_file", [{ path: "notes.md" }]),
    ];
    expect(listed).toEqual([{ ok: true, content: "data\nlink\nnotes.md\nzero" }]);
    expect(data.map(({ ok }) => ok)).toEqual([false, false]);
    expect(notes[0]?.content).toContain("what may be read");
  }));
