import { describe, expect, test } from "bun:test";
import { fileName } from "../../src/core/file-name.ts";
import { Sniffer } from "../../src/core/media.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { gif, jpeg, png, webp } from "../support/images.ts";

function sniff(content: Uint8Array | string, name = "x", piece = 256 * 1024): unknown {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  const sniffer = new Sniffer();
  try {
    for (let at = 0; at < bytes.length; at += piece) sniffer.push(bytes.subarray(at, at + piece));
    return sniffer.end(name);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    expect([error.reason, error.http, error.details]).toEqual([
      "INVALID_REQUEST",
      415,
      { kind: "media_type" },
    ]);
    return error.message;
  }
}

describe("an image is known by its header, whatever it is called", () => {
  const size = { width: 640, height: 480 };
  test.each([
    ["png", png(640, 480), "image/png"],
    ["gif 87a", gif(640, 480, "87a"), "image/gif"],
    ["gif 89a", gif(640, 480), "image/gif"],
    ["jpeg", jpeg(640, 480, 0), "image/jpeg"],
    ["jpeg behind metadata", jpeg(640, 480, 200_000), "image/jpeg"],
    ["progressive jpeg", jpeg(640, 480, 20, 0xc2), "image/jpeg"],
    ["webp", webp("VP8 ", 640, 480), "image/webp"],
    ["lossless webp", webp("VP8L", 640, 480), "image/webp"],
    ["extended webp", webp("VP8X", 640, 480), "image/webp"],
  ])("%s", (_kind, bytes, media_type) => {
    expect(sniff(bytes, "page.html")).toEqual({ media_type, size });
  });

  test("the largest sides there are", () => {
    expect(sniff(png(0xffff_ffff, 1))).toMatchObject({ size: { width: 0xffff_ffff, height: 1 } });
    expect(sniff(webp("VP8X", 1 << 24, 1))).toMatchObject({ size: { width: 1 << 24 } });
    expect(sniff(webp("VP8L", 1 << 14, 1 << 14))).toMatchObject({
      size: { width: 1 << 14, height: 1 << 14 },
    });
  });
});

describe("one that cannot be read is refused", () => {
  test.each([
    ["without width", png(0, 5)],
    ["without its header", Buffer.from("\x89PNG\r\n\x1a\n", "latin1")],
    ["with another chunk first", Buffer.from(png(1, 1)).fill("IDAT", 12, 16)],
    ["gif that ends", gif(5, 5).subarray(0, 9)],
    ["jpeg that ends in metadata", jpeg(5, 5, 1_000).subarray(0, 900)],
    ["jpeg whose metadata never ends", jpeg(5, 5, 2_000_000)],
    ["jpeg with no segments", Buffer.from("\xff\xd8\xffabcdef", "latin1")],
    ["jpeg with a segment of nothing", Buffer.from("\xff\xd8\xff\xe1\0\0\0\0\0\0\0\0\0\0", "latin1")],
    ["webp of an unknown kind", Buffer.from(webp("VP8X", 5, 5)).fill("VP9 ", 12, 16)],
    ["webp without its sign", Buffer.from(webp("VP8 ", 5, 5)).fill(0, 23, 26)],
  ])("%s", (_what, bytes) => {
    expect(sniff(bytes)).toMatch(/^this image\/\w+ cannot be read/);
  });
});

describe("text is what is UTF-8, and never anything a browser would run", () => {
  test.each([
    ["notes.md", "# Héllo", "text/markdown"],
    ["NOTES.MD", "# Hello", "text/markdown"],
    ["data.json", '{"a":1}', "application/json"],
    ["data.csv", "a,b", "text/csv"],
    ["page.html", "<script>alert(1)</script>", "text/plain"],
    ["image.svg", '<svg onload="alert(1)"/>', "text/plain"],
    ["image.png", "no image at all", "text/plain"],
    ["main.rs", "fn main() {}", "text/plain"],
    ["constructor", "x", "text/plain"],
    ["x.__proto__", "x", "text/plain"],
    ["bom.txt", "\ufeffhello", "text/plain"],
  ])("%s", (name, content, media_type) => {
    expect(sniff(content, name)).toEqual({ media_type, size: null });
  });

  test("characters that are cut by a piece are whole", () => {
    expect(sniff("ü€😀".repeat(10), "x.txt", 1)).toEqual({ media_type: "text/plain", size: null });
  });

  test.each([
    ["a zip", "PK\x03\x04\0\0"],
    ["UTF-16", Buffer.from("\ufeffhello", "utf16le")],
    ["Latin-1", Buffer.from("caf\xe9 au lait", "latin1")],
    ["half a character at its end", Buffer.from("€").subarray(0, 2)],
    ["a NUL", "a\0b"],
    ["a NUL behind a piece", `${"a".repeat(300 * 1024)}\0`],
    ["a surrogate as UTF-8", Buffer.from("\xed\xa0\x80", "latin1")],
  ])("%s is refused", (_what, content) => {
    expect(sniff(content)).toBe("only images (PNG, JPEG, GIF, WebP) and text in UTF-8 can be attached");
  });

  test("PDF and nothing say why", () => {
    expect(sniff("%PDF-1.7\n")).toMatch(/^PDF files cannot be attached/);
    expect(sniff("")).toMatch(/^the file is empty/);
  });
});

describe("a name", () => {
  test.each([
    ["photo of me.png", "photo of me.png"],
    ["../../etc/passwd", "passwd"],
    ["C:\\Users\\me\\x.txt", "x.txt"],
    ["..", "attachment"],
    ["", "attachment"],
    ["/", "attachment"],
    ["...hidden", "hidden"],
    ["dots...", "dots"],
    ["a\r\nSet-Cookie: x\0.txt", "aSet-Cookie_ x.txt"],
    ["exe\u202egnp.txt", "exegnp.txt"],
    ["\u2066\u200b\u200fx\u2028y", "xy"],
    ['a"b<c>|?*:d', "a_b_c_____d"],
    ["naïve 😀.md", "naïve 😀.md"],
    ["\ud800.txt", "\ufffd.txt"],
  ])("%j is %j", (said, name) => {
    expect(fileName(said)).toBe(name);
  });

  test("is cut so that a file system takes it, and what it is stays", () => {
    const name = fileName(`${"ü".repeat(500)}.markdown`);
    expect(name.endsWith("ü.markdown")).toBe(true);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200);
    expect(Buffer.byteLength(fileName("😀".repeat(500)))).toBe(200);
  });
});
