import { expect, test } from "bun:test";
import type { AttachmentRow, Files } from "../../src/core/attachment.ts";
import { bearer, startHttp } from "./http.fixture.ts";

const FILE: AttachmentRow = {
  attachment_id: "att_1",
  name: "x.txt",
  media_type: "text/plain",
  width: null,
  height: null,
  bytes: 300,
  sha256: "0".repeat(64),
};
const PATH = "/api/v1/sessions/s/attachments/att_1";

/** A file in pieces of 100 bytes, of which so many can be read. */
function files(pieces: number): Files {
  return {
    receive: () => Promise.reject(new Error("nothing comes in here")),
    open: async () => ({
      file: FILE,
      async *content() {
        for (let n = 0; n < pieces; n++) {
          await new Promise((resolve) => setImmediate(resolve));
          yield new Uint8Array(100).fill(n);
        }
        if (pieces * 100 < FILE.bytes) throw new Error("it may not be read any more");
      },
    }),
  };
}

test("a file of several pieces is read to its end", async () => {
  await using http = await startHttp({ files: files(3) });
  const response = await fetch(http.url + PATH, { headers: bearer("owner") });
  const bytes = await response.bytes();
  expect([response.status, bytes.length, bytes[0], bytes[299]]).toEqual([200, 300, 0, 2]);
});

test("one that may not be read any more is cut off, and is no whole answer", async () => {
  await using http = await startHttp({ files: files(2) });
  const response = await fetch(http.url + PATH, { headers: bearer("owner") });
  expect(response.status).toBe(200);
  const read = await response.bytes().then(
    (bytes) => bytes.length,
    (error: unknown) => error,
  );
  expect(read).toBeInstanceOf(Error);
  expect(http.logged).toEqual([]);
}, 15_000);
