import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sizeText } from "../../src/cli/attach-file.ts";
import { Attached } from "../../src/cli/attached.ts";
import { attach, pathCompletions, pathsOf } from "../../src/cli/chat-attach.ts";
import type { Client } from "../../src/client/client.ts";
import { AbortedError, GatewayError } from "../../src/client/error.ts";
import type { Attachment } from "../../src/protocol/api/attachment.ts";

const cwd = mkdtempSync(join(tmpdir(), "agentbus-test-"));
const place = { cwd, env: { HOME: join(cwd, "home") } };
mkdirSync(join(cwd, "home"));
mkdirSync(join(cwd, "two words"));
for (const name of ["a.md", "b.md", ".hidden", "it's.md", "two words/c d.md", "home/e.md"])
  writeFileSync(join(cwd, name), "");
afterAll(() => rmSync(cwd, { recursive: true }));

test.each([
  ["a.md", ["a.md"]],
  ["a.md b.md", ["a.md", "b.md"]],
  ["two words/c d.md", ["two words/c d.md"]],
  ["it's.md", ["it's.md"]],
  ["it\\'s.md a.md", ["it's.md", "a.md"]],
  ["two\\ words/c\\ d.md  a.md", ["two words/c d.md", "a.md"]],
  [`"two words/c d.md" 'a.md'`, ["two words/c d.md", "a.md"]],
  ["absent file", ["absent", "file"]],
  ["~/e.md", ["~/e.md"]],
])("/attach %p means %p", (rest, paths) => expect(pathsOf(rest, place)).toEqual(paths));

test.each([
  ["/attach a", ["/attach a.md"]],
  ["/attach a.md b", ["/attach a.md b.md"]],
  ["/attach .h", ["/attach .hidden"]],
  ["/attach ~/", ["/attach ~/e.md"]],
  ["/attach tw", ["/attach two\\ words/"]],
  ["/attach two\\ words/", ["/attach two\\ words/c\\ d.md"]],
  ["/attach it", ["/attach it\\'s.md"]],
  ["/attach ", ["a.md", "b.md", "home/", "it\\'s.md", "two\\ words/"].map((path) => `/attach ${path}`)],
  ["/attach nowhere/", []],
  ["/model a", []],
])("%p may become %p", (line, lines) => expect(pathCompletions(line, place)).toEqual(lines));

test.each([
  [0, "0 bytes"],
  [999, "999 bytes"],
  [1_234, "1.2 KB"],
  [12_345, "12 KB"],
  [8_400_000, "8.4 MB"],
])("%i bytes are %p", (bytes, text) => expect(sizeText(bytes)).toBe(text));

describe("files for the next message", () => {
  const file = { path: join(cwd, "a.md"), name: "a.md", bytes: 0 };
  const attachment = { attachment_id: "att_1", name: "a.md", bytes: 0 } as Attachment;

  /** Uploads end when the test says so, or when they are told to. */
  function attached() {
    const uploads: PromiseWithResolvers<Attachment>[] = [];
    const upload: Client["upload"] = (_, { signal } = {}) => {
      const made = Promise.withResolvers<Attachment>();
      signal?.addEventListener("abort", () => made.reject(new AbortedError()));
      uploads.push(made);
      return made.promise;
    };
    const leaving = new AbortController();
    return { uploads, leaving, files: new Attached({ upload } as Client, [], leaving.signal) };
  }

  test("a message that takes them waits until the gateway has them; the next one has none", async () => {
    const { uploads, files } = attached();
    const added = files.add(file);
    expect(files.waiting).toMatchObject([{ name: "a.md", bytes: 0 }]);
    const taken = files.take();
    expect([files.waiting, await files.take()]).toEqual([[], []]);
    uploads[0]?.resolve(attachment);
    expect([await taken, await added]).toEqual([[attachment], attachment]);
  });

  test("one that is not taken waits no more, and what took it fails with it", async () => {
    const { uploads, files } = attached();
    const refused = new GatewayError("TOO_LARGE", "too large");
    const alone = files.add(file);
    uploads[0]?.reject(refused);
    const why = { code: "TOO_LARGE", message: "a.md was not attached: too large" };
    expect(await alone.catch((error: unknown) => error)).toMatchObject(why);
    expect(files.waiting).toEqual([]);
    const added = files.add(file).catch((error: unknown) => error);
    const taken = files.take().catch((error: unknown) => error);
    uploads[1]?.reject(refused);
    expect([await added, await taken]).toMatchObject([why, why]);
  });

  test("one that takes long is told of, and one that is refused leaves the others alone", async () => {
    const { uploads, files } = attached();
    const lines: string[] = [];
    const slow = Promise.withResolvers<void>();
    const tell = (told: readonly string[]): void => {
      lines.push(...told);
      if (told[0]?.startsWith("sending b.md") === true) slow.resolve();
    };
    const done = attach("a.md b.md", { attached: files, place, tell });
    uploads[0]?.reject(new GatewayError("TOO_LARGE", "too large"));
    await slow.promise;
    uploads[1]?.resolve({ ...attachment, name: "b.md", media_type: "text/markdown" });
    await done;
    expect(lines).toEqual([
      "agentbus: a.md was not attached: too large",
      "sending b.md, 0 bytes",
      "b.md, text/markdown, 0 bytes: goes with the next message",
    ]);
    expect(files.waiting).toMatchObject([{ name: "b.md" }]);
  });

  test("dropped, or left, none is sent any more", async () => {
    const { files, leaving } = attached();
    const added = files.add(file);
    expect([files.drop(), files.drop(), await added]).toEqual([1, 0, null]);
    const left = files.add(file);
    leaving.abort();
    expect(await left).toBeNull();
  });
});
