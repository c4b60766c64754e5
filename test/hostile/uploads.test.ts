import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { download, form, send, upload } from "../gateway/files.fixture.ts";
import { eventually } from "../gateway/stack.ts";
import { fileFaults } from "../support/file-check.ts";
import { startGateway } from "../support/gateway-process.ts";
import { gif, png } from "../support/images.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, openArena, until } from "./beside.ts";
import type { RawPeer } from "./raw-peer.ts";
import { dial, head } from "./raw-peer.ts";

/** Files that are made to hurt who takes them in, keeps them, or shows them. */

const KIB = 1024;
const UPLOAD_MS = 3_000;
const LATE_MS = 5_000;

let arena: Arena;
beforeAll(async () => {
  const limits = { ...ANY_RATE, upload_deadline_ms: UPLOAD_MS, attachment_bytes: 1024 * KIB };
  arena = await openArena({ config: { limits } });
});
afterAll(() => arena[Symbol.asyncDispose]());

interface Sender {
  readonly bearer: { readonly authorization: string };
}

async function somebody(name: string): Promise<Sender & { readonly token: string }> {
  const { token } = await arena.guest({ user: name, role: "user" });
  return { token, bearer: { authorization: `Bearer ${token}` } };
}

/** The head of an upload, and nothing else of it yet. */
async function begin({ bearer }: Sender, headers: Record<string, string>): Promise<RawPeer> {
  const peer = await dial(arena.port);
  const sent = { Authorization: bearer.authorization, ...headers };
  await peer.write(`${head("POST /api/v1/attachments", arena.port, sent)}\r\n`);
  return peer;
}

/** A small upload, and how it is answered. */
async function one(who: Sender): Promise<number> {
  const response = await send(arena, who, "one more");
  await response.body?.cancel();
  return response.status;
}

const statusOf = (peer: RawPeer): string => peer.text.split(" ", 2)[1] ?? "";
const faults = (): string[] => fileFaults(join(arena.gateway.data_dir, "agentbus.db"));

/** A message that names files, so that they can be read. */
async function keep(who: { token: string }, session_id: string, attachments: string[]): Promise<void> {
  await arena.call("session.create", { session_id }, who.token);
  await arena.call("chat.inject", { session_id, role: "user", content: "x", attachments }, who.token);
}

describe("who does not finish", () => {
  test("is answered 408 after upload_deadline_ms, and keeps no place from others meanwhile", () =>
    arena.beside(async (round) => {
      const slow = await somebody(`slow${round}`);
      const peers = await Promise.all(
        Array.from({ length: 8 }, () => begin(slow, { "Content-Length": "100000" })),
      );
      const drip = setInterval(() => {
        for (const peer of peers) if (!peer.closed) void peer.write("x");
      }, 100);
      try {
        await eventually(
          () => one(slow),
          (status) => status === 429,
        );
        await upload(arena, await somebody(`quick${round}`), "mine");
        await until(() => peers.every(({ bytes }) => bytes > 0), "the answers", UPLOAD_MS + LATE_MS);
        expect(peers.map(statusOf)).toEqual(peers.map(() => "408"));
        await upload(arena, slow, "its places are free again");
      } finally {
        clearInterval(drip);
        for (const peer of peers) peer[Symbol.dispose]();
      }
    }));

  test("leaves nothing behind: cut off in the middle, a hundred times", () =>
    arena.beside(async (round) => {
      const hasty = await somebody(`hasty${round}`);
      const half = "x".repeat(300 * KIB);
      for (let i = 0; i < 100; i += 5) {
        await Promise.all(
          Array.from({ length: 5 }, async () => {
            using peer = await begin(hasty, { "Content-Length": String(900 * KIB) });
            await peer.write(half);
          }),
        );
      }
      await eventually(
        () => one(hasty),
        (status) => status === 201,
      );
      await until(() => faults().length === 0, "nothing that nobody names");
      const left = (): number => receiving(`hasty${round}`);
      await until(() => left() === 0, "nothing that is being received");
    }));
});

/** Uploads of a user that the store believes to go on. */
function receiving(user: string): number {
  using db = new Database(join(arena.gateway.data_dir, "agentbus.db"), { readonly: true });
  return (
    db.query<{ n: number }, [string]>("SELECT COUNT(*) AS n FROM contents WHERE user = ?").get(user)?.n ?? -1
  );
}

describe("who sends too much", () => {
  test("is told so, by its length or without one, and cut off", () =>
    arena.beside(async () => {
      const greedy = await somebody("greedy");
      const said = await begin(greedy, { "Content-Length": String(1 << 30) });
      await until(() => said.bytes > 0, "the refusal");
      expect(statusOf(said)).toBe("413");
      const silent = await begin(greedy, { "Transfer-Encoding": "chunked" });
      const chunk = `10000\r\n${"x".repeat(64 * KIB)}\r\n`;
      for (let i = 0; i < 100 && !silent.closed; i++) await silent.write(chunk);
      await until(() => silent.bytes > 0 && silent.closed, "the refusal and the end");
      expect(statusOf(silent)).toBe("413");
      // One that is refused for what it is reads so, too, although it was still sending.
      const pdf = await begin(greedy, { "Content-Length": String(900 * KIB) });
      for (let i = 0; i < 9; i++) await pdf.write("%PDF-1.7\n".padEnd(100 * KIB));
      await until(() => pdf.bytes > 0, "the refusal");
      expect([statusOf(pdf), pdf.text.includes("PDF files cannot be attached")]).toEqual(["415", true]);
      pdf[Symbol.dispose]();
      said[Symbol.dispose]();
      expect(faults()).toEqual([]);
    }));

  test("a thousand at once are each taken or told to wait, and what was taken is whole", () =>
    arena.beside(async (round) => {
      const eager = await somebody(`eager${round}`);
      const body = (i: number): string => `${i}\n`.padEnd(4 * KIB, "0123456789");
      const statuses: number[] = [];
      for (let at = 0; at < 1_000; at += 250) {
        const some = Array.from({ length: 250 }, (_, i) => send(arena, eager, body(at + i)));
        for (const response of await Promise.all(some)) {
          statuses.push(response.status);
          await response.body?.cancel();
        }
      }
      expect(new Set(statuses)).toEqual(new Set([201, 429]));
      expect(statuses.filter((status) => status === 201).length).toBeGreaterThan(8);
      await until(() => faults().length === 0, "what was taken is whole");
    }));
});

describe("a name", () => {
  test("can neither break a header nor leave its directory nor look like another", async () => {
    const mallory = await somebody("mallory");
    const names = [
      "x\r\nSet-Cookie: a=b\r\n\r\n<script>",
      '"; filename="evil.html',
      "../../../etc/cron.d/x",
      "..\\..\\boot.ini",
      "nul\0byte",
      "invoice\u202efdp.exe",
      `${"n".repeat(900)}.txt`,
      "%2e%2e%2fx",
    ];
    const files = [];
    for (const name of names)
      files.push(await upload(arena, mallory, `content of ${names.indexOf(name)}`, { name }));
    for (const name of names.slice(0, 3)) files.push(await upload(arena, mallory, form("content", name)));
    const ids: string[] = files.map(({ attachment_id }) => attachment_id);
    await keep(mallory, "names", ids.slice(0, 8));
    await keep(mallory, "names2", ids.slice(8));
    for (const [at, { attachment_id, name }] of files.entries()) {
      expect(name).not.toMatch(/[\p{Cc}\p{Cf}/\\"<>:|?*]|^\./u);
      const response = await download(arena, mallory, at < 8 ? "names" : "names2", attachment_id);
      expect([response.status, [...response.headers.keys()].filter((key) => key === "set-cookie")]).toEqual([
        200,
        [],
      ]);
      const disposition = response.headers.get("content-disposition") ?? "";
      expect(disposition).toMatch(
        /^attachment; filename="[\x20-\x21\x23-\x7e]+"; filename\*=UTF-8''[\w.%~-]+$/,
      );
    }
  });
});

describe("a form that is none", () => {
  const part = (headers: string, content = "x"): string => `--b\r\n${headers}\r\n\r\n${content}\r\n--b--\r\n`;
  const FILE = 'Content-Disposition: form-data; name="f"; filename="a.txt"';
  test.each([
    ["no boundary", "multipart/form-data", part(FILE)],
    ["a boundary of nothing", "multipart/form-data; boundary=", part(FILE)],
    ["a boundary that is too long", `multipart/form-data; boundary=${"b".repeat(71)}`, part(FILE)],
    ["nothing", "multipart/form-data; boundary=b", ""],
    ["another boundary", "multipart/form-data; boundary=c", part(FILE)],
    ["no end", "multipart/form-data; boundary=b", part(FILE).slice(0, -8)],
    ["an end that is none", "multipart/form-data; boundary=b", `${part(FILE).slice(0, -4)}xx`],
    ["a head that does not end", "multipart/form-data; boundary=b", `--b\r\n${"X: y\r\n".repeat(5_000)}`],
    ["no file", "multipart/form-data; boundary=b", part('Content-Disposition: form-data; name="f"')],
    ["two files", "multipart/form-data; boundary=b", part(FILE).slice(0, -4) + "\r\n" + part(FILE).slice(5)],
    ["something behind its end", "multipart/form-data; boundary=b", part(FILE) + "y".repeat(5_000)],
  ])("%s", async (_what, type, body) => {
    const response = await send(arena, await somebody("former"), body, { type });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { error: { code: "INVALID_REQUEST", details: { kind: "form" } } },
    ]);
  });

  test("and one whose content looks like its boundary is whole", async () => {
    const who = await somebody("former");
    const content = "\r\n--\r\n--bb\r\n-\r\n--";
    const file = await upload(arena, who, part(FILE, content), {
      type: 'multipart/form-data; boundary="b"; charset=utf-8',
    }).catch((error: unknown) => error);
    // "\r\n--b" is in it: a sender has to choose a boundary that is not.
    expect(file).toMatchObject({ code: "INVALID_REQUEST" });
    const other = part(FILE, content)
      .replaceAll("--b\r\nContent", "--q\r\nContent")
      .replace(/--b--\r\n$/, "--q--\r\n");
    expect(await upload(arena, who, other, { type: "multipart/form-data; boundary=q" })).toMatchObject({
      bytes: content.length,
    });
  });
});

describe("a file that is two things", () => {
  test("is one of them, for everybody, and runs nowhere", async () => {
    const who = await somebody("shape");
    const script = "<html><script>alert(document.domain)</script>";
    const files = [
      await upload(arena, who, new Uint8Array(Buffer.concat([gif(10, 10), Buffer.from(script)])), {
        name: "x.html",
      }),
      await upload(arena, who, png(10, 10, script), { name: "x.svg", type: "image/svg+xml" }),
      await upload(arena, who, script, { name: "x.png", type: "image/png" }),
      await upload(arena, who, `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`, {
        name: "x.svg",
      }),
      await upload(arena, who, `GIF98a=1;${script}`, { name: "x.js", type: "text/javascript" }),
    ];
    await keep(
      who,
      "shapes",
      files.map(({ attachment_id }) => attachment_id),
    );
    const shown = await Promise.all(
      files.map(async ({ attachment_id }) => {
        const { headers } = await download(arena, who, "shapes", attachment_id);
        expect(headers.get("x-content-type-options")).toBe("nosniff");
        expect(headers.get("content-security-policy")).toStartWith("sandbox; default-src 'none'");
        return [headers.get("content-type"), headers.get("content-disposition")?.split(";", 1)[0]];
      }),
    );
    const text = ["text/plain; charset=utf-8", "attachment"];
    expect(shown).toEqual([["image/gif", "inline"], ["image/png", "inline"], text, text, text]);
  });

  test("an image that would fill memory once it is unpacked is refused by its header", async () => {
    const response = await send(arena, await somebody("shape"), png(50_000, 50_000));
    expect([response.status, await response.json()]).toMatchObject([
      413,
      { error: { code: "TOO_LARGE", details: { what: "attachment_pixels" } } },
    ]);
  });
});

test("a database that is full of files takes messages all the same, and says so to who uploads", async () => {
  await using small = await startGateway({ config: { storage: { max_bytes: 4 * 1024 * KIB } } });
  const bearer = { authorization: `Bearer ${small.token}` };
  const stack = { gateway: small };
  const refused = async (i: number): Promise<unknown> => {
    const response = await send(stack, { bearer }, `${i}`.padEnd(400 * KIB, "x"));
    return response.status === 201 ? null : [response.status, await response.json()];
  };
  let answer: unknown = null;
  for (let i = 0; answer === null && i < 20; i++) answer = await refused(i);
  expect(answer).toMatchObject([
    503,
    { error: { code: "UNAVAILABLE", details: { kind: "room" }, retryable: false } },
  ]);
  const message = { message: "still here", session_id: "s" };
  const sent = await fetch(`${small.url}/api/v1/chat`, {
    method: "POST",
    headers: { ...bearer, "content-type": "application/json" },
    body: JSON.stringify(message),
  });
  expect(sent.status).toBe(201);
  expect((await fetch(`${small.url}/ready`)).status).toBe(200);
});
