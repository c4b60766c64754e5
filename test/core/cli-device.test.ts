import { describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { renderUnicodeCompact } from "uqr";
import { credentialOf, openDeviceKey, readDeviceKey } from "../../src/cli/device-key.ts";
import { CommandError } from "../../src/cli/exit.ts";
import { gatewayOrigin } from "../../src/cli/gateway-file.ts";
import type { Io } from "../../src/cli/io.ts";
import { qrLines } from "../../src/cli/qr.ts";
import { table, visible } from "../../src/cli/table.ts";
import { userConfigDir } from "../../src/config/data-dir.ts";
import { workplace } from "../support/executable.ts";

const URL_A = "http://127.0.0.1:18789";

/** A user whose home is `home`, and what was said to them. */
function user(home: string): Io & { readonly errors: string[] } {
  const errors: string[] = [];
  return {
    env: { HOME: home, NO_COLOR: "1" },
    cwd: home,
    stdin: Readable.from([]),
    tty: true,
    write: () => undefined,
    out: () => undefined,
    err: (line) => void errors.push(line),
    outlast: () => undefined,
    errors,
  };
}

describe("the key of a device", () => {
  test("is made once, for its user alone, and signs", async () => {
    using home = workplace();
    const io = user(home.path);
    expect(readDeviceKey(URL_A, io)).toBeNull();
    const key = await openDeviceKey(URL_A, io);
    expect(await openDeviceKey(URL_A, io)).toEqual(key);
    expect(readDeviceKey(URL_A, io)).toEqual(key);
    expect(key.path).toStartWith(join(home.path, ".config", "agentbus", "devices"));
    expect(statSync(key.path).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(key.path)).mode & 0o777).toBe(0o700);
    expect(readdirSync(dirname(key.path)).length).toBe(1);
    const { public_key, device_id, sign } = await credentialOf(key);
    const raw = Uint8Array.fromBase64(public_key, { alphabet: "base64url" });
    expect(device_id).toBe(new Bun.CryptoHasher("sha256").update(raw).digest("hex"));
    const open = await crypto.subtle.importKey("raw", raw, "Ed25519", true, ["verify"]);
    const signature = Uint8Array.fromBase64(await sign("text"), { alphabet: "base64url" });
    expect(await crypto.subtle.verify("Ed25519", open, signature, Buffer.from("text"))).toBe(true);
    expect(io.errors).toEqual([]);
  });

  test("is another one for every gateway, however its address is written", async () => {
    using home = workplace();
    const io = user(home.path);
    const key = await openDeviceKey(URL_A, io);
    for (const same of ["ws://localhost:18789/ws", "http://LOCALHOST:18789/", `${URL_A}/x`])
      expect((await openDeviceKey(same, io)).jwk).toEqual(key.jwk);
    for (const other of ["http://127.0.0.1:18790", "https://127.0.0.1:18789", "http://[::1]:18789"])
      expect((await openDeviceKey(other, io)).jwk).not.toEqual(key.jwk);
    expect(gatewayOrigin("wss://bus.example.com:443/ws")).toBe("https://bus.example.com");
  });

  test("of several that make it at once is the same for all", async () => {
    using home = workplace();
    const keys = await Promise.all(Array.from({ length: 8 }, () => openDeviceKey(URL_A, user(home.path))));
    expect(new Set(keys.map(({ jwk }) => jwk.x)).size).toBe(1);
  });

  test("that others may read is closed to them, and said so", async () => {
    using home = workplace();
    const io = user(home.path);
    const { path } = await openDeviceKey(URL_A, io);
    chmodSync(path, 0o644);
    expect(readDeviceKey(URL_A, io)?.path).toBe(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(io.errors).toEqual([expect.stringContaining("others could read")]);
    expect(io.errors[0]).not.toContain(String(JSON.parse(readFileSync(path, "utf8")).d));
  });

  test.each(["", "null", "{}", '{"kty":"OKP","crv":"Ed25519","d":1,"x":"x"}', " ".repeat(65_000)])(
    "that is none is told by its file: %p",
    async (text) => {
      using home = workplace();
      const io = user(home.path);
      const { path } = await openDeviceKey(URL_A, io);
      writeFileSync(path, text);
      expect(() => readDeviceKey(URL_A, io)).toThrow(
        new CommandError(`${path} holds no device key: remove it and pair again`),
      );
    },
  );

  test("that is larger than any is not read", async () => {
    using home = workplace();
    const io = user(home.path);
    const { path } = await openDeviceKey(URL_A, io);
    writeFileSync(path, " ".repeat(70_000));
    expect(() => readDeviceKey(URL_A, io)).toThrow(`${path} is not what agentbus wrote`);
  });

  test("that cannot be imported is told by its file", async () => {
    using home = workplace();
    const io = user(home.path);
    const { path } = await openDeviceKey(URL_A, io);
    writeFileSync(path, '{"kty":"OKP","crv":"Ed25519","d":"AA","x":"AA"}');
    const key = readDeviceKey(URL_A, io);
    expect(key).not.toBeNull();
    if (key !== null) await expect(credentialOf(key)).rejects.toThrow(`${path} holds no device key`);
  });

  test("that cannot be written is one line", async () => {
    using home = workplace();
    home.file(".config", "a file in the way");
    await expect(openDeviceKey(URL_A, user(home.path))).rejects.toThrow(/^cannot read .*ENOTDIR/);
  });
});

test("a user's own directory is never a gateway's data directory", () => {
  expect(userConfigDir({ HOME: "/h" }, "linux")).toBe("/h/.config/agentbus");
  expect(userConfigDir({ HOME: "/h", XDG_CONFIG_HOME: "/x" }, "linux")).toBe("/x/agentbus");
  expect(userConfigDir({ HOME: "/h", XDG_CONFIG_HOME: "x" }, "darwin")).toBe("/h/.config/agentbus");
  expect(userConfigDir({ APPDATA: "/a" }, "win32")).toBe("/a/agentbus");
});

test("what a stranger calls itself moves nothing on a terminal", () => {
  expect(visible("a\u001b[2Jb\r\nc\u202ed")).toBe("a\ufffd[2Jb\ufffd\ufffdc\ufffdd");
  expect(table(["name", "x"], [["\u0007me", "1"]])).toEqual(["name  x", "\ufffdme   1"]);
});

test("a QR code has its own colours, unless there are to be none", () => {
  using home = workplace();
  const io = user(home.path);
  const plain = renderUnicodeCompact("https://bus.example.com/#pair=A", { border: 2 }).split("\n");
  expect(qrLines(io, "https://bus.example.com/#pair=A")).toEqual(plain);
  const coloured = qrLines({ ...io, env: {} }, "https://bus.example.com/#pair=A");
  expect(coloured).toEqual(plain.map((line) => `\u001b[97;40m${line}\u001b[0m`));
});
