import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { makeCertificate, openssl } from "../support/certificates.ts";
import { AGENTBUS, agentbus, plainEnvironment, serve } from "../support/executable.ts";
import { needs } from "../support/needs.ts";
import type { Finding } from "./doctor.fixture.ts";
import { BASE, gatewayPlace, of } from "./doctor.fixture.ts";

const HAS_OPENSSL = needs("openssl", "openssl");
const IS_ROOT = process.getuid?.() === 0;
describe("the data directory", () => {
  test("as a gateway left it, everything is in order; what others can read is told", async () => {
    using place = gatewayPlace();
    await place.ran();
    const good = await place.doctor();
    expect(good.code).toBe(0);
    for (const check of ["data directory", "token", "disk", "disk speed", "database", "clock"]) {
      expect([check, of(good.findings, check)?.state]).toEqual([check, "ok"]);
    }
    expect(of(good.findings, "disk speed")?.finding).toMatch(/^\d+\.\d ms to keep a page for good/);
    expect(of(good.findings, "database")?.finding).toContain("every page read and in order");
    expect(of((await place.doctor("--deep")).findings, "database")?.finding).toContain("all of it read");
    chmodSync(place.data, 0o755);
    chmodSync(join(place.data, "token"), 0o644);
    const { findings } = await place.doctor();
    expect(of(findings, "data directory")).toMatchObject({
      state: "warning",
      advice: expect.stringContaining("chmod 700"),
    });
    expect(of(findings, "token")).toMatchObject({
      state: "warning",
      advice: expect.stringContaining("chmod 600"),
    });
  });

  test.skipIf(!IS_ROOT)("a token that belongs to somebody else", async () => {
    using place = gatewayPlace();
    await place.ran();
    chownSync(join(place.data, "token"), 65_534, 65_534);
    const { code, findings } = await place.doctor();
    expect(code).toBe(1);
    expect(of(findings, "token")).toMatchObject({
      state: "failed",
      finding: expect.stringContaining("65534"),
      advice: expect.stringContaining(`chown ${statSync(place.data).uid}`),
    });
  });

  test("a database with a page that was written over, and one that is none", async () => {
    using place = gatewayPlace();
    await place.ran();
    const file = join(place.data, "agentbus.db");
    const { size } = statSync(file);
    const db = openSync(file, "r+");
    for (let at = 4_096; at < size; at += 4_096) writeSync(db, Buffer.alloc(2_048, 0xff), 0, 2_048, at);
    closeSync(db);
    const { code, findings } = await place.doctor();
    expect(code).toBe(1);
    expect(of(findings, "database")).toMatchObject({
      state: "failed",
      finding: expect.stringContaining("not as it should be"),
      advice: expect.stringContaining("agentbus restore"),
    });
    writeFileSync(file, "nothing of the kind".repeat(1_000));
    expect(of((await place.doctor()).findings, "database")?.finding).toContain("NOTADB");
  });

  test("too little room on its disk, and a clock that went back", async () => {
    using place = gatewayPlace(`${BASE}[storage]\nmin_free_bytes = ${Number.MAX_SAFE_INTEGER}\n`);
    await place.ran();
    const later = Date.now() / 1_000 + 86_400;
    utimesSync(join(place.data, "agentbus.db"), later, later);
    const { code, findings } = await place.doctor();
    expect(code).toBe(1);
    expect(of(findings, "disk")).toMatchObject({
      state: "failed",
      advice: expect.stringContaining("make room"),
    });
    expect(of(findings, "clock")).toMatchObject({
      state: "warning",
      finding: expect.stringContaining("went back"),
    });
  });

  test.skipIf(!IS_ROOT || Bun.spawnSync(["mount", "--version"]).exitCode !== 0)(
    "a disk that is full",
    async () => {
      using place = gatewayPlace();
      mkdirSync(place.data, { mode: 0o700 });
      const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", place.data]);
      if (mounted.exitCode !== 0) return;
      try {
        const file = openSync(join(place.data, "filler"), "w");
        try {
          for (;;) writeSync(file, Buffer.alloc(4_096));
        } catch {
          // It is full.
        }
        closeSync(file);
        const { code, findings } = await place.doctor();
        expect(code).toBe(1);
        expect(of(findings, "disk speed")).toMatchObject({
          state: "failed",
          finding: expect.stringContaining("ENOSPC"),
        });
        expect(of(findings, "disk")?.state).toBe("failed");
      } finally {
        Bun.spawnSync(["umount", place.data]);
      }
    },
  );
});

test("every port that is taken, with the option that moves it", async () => {
  const listen = () =>
    Bun.listen({ hostname: "127.0.0.1", port: 0, exclusive: true, socket: { data: () => undefined } });
  const [one, two] = [listen(), listen()];
  try {
    using place = gatewayPlace(
      `[server]\nport = ${one.port}\ndata_dir = "data"\n[gateway]\nbind = "127.0.0.1:${two.port}"\n`,
    );
    const { code, findings } = await place.doctor();
    expect(code).toBe(1);
    const ports = findings.filter(({ check }) => check === "port");
    expect(ports.map(({ state }) => state)).toEqual(["failed", "failed"]);
    expect(ports.map(({ advice }) => advice)).toEqual([
      expect.stringContaining("server.port"),
      expect.stringContaining("gateway.bind"),
    ]);
  } finally {
    one.stop(true);
    two.stop(true);
  }
});

test.skipIf(!HAS_OPENSSL)("a certificate that has expired, and one that soon will have", async () => {
  using place = gatewayPlace();
  const tell = async (pair: { readonly cert_file: string; readonly key_file: string }) => {
    const tls = `[server.tls]\ncert = "${pair.cert_file}"\nkey = "${pair.key_file}"\n`;
    place.file("agentbus.toml", `${BASE}${tls}`);
    const { code, findings } = await place.doctor();
    return { code, ...of(findings, "certificate") };
  };
  expect(await tell(makeCertificate(place.path, "late", { expired: true }))).toMatchObject({
    code: 1,
    state: "failed",
    advice: expect.stringContaining("none starts without"),
  });
  const soon = makeCertificate(place.path, "soon");
  expect(await tell(soon)).toMatchObject({ code: 0, state: "ok" });
  openssl(["x509", "-in", soon.cert_file, "-signkey", soon.key_file, "-days", "20", "-out", soon.cert_file]);
  expect(await tell(soon)).toMatchObject({
    code: 0,
    state: "warning",
    advice: expect.stringContaining("renew"),
  });
});

test.skipIf(process.platform === "win32")("fewer open files than connections may need", async () => {
  using place = gatewayPlace();
  const command = ["sh", "-c", 'ulimit -n 300 && exec "$@"', "sh", ...AGENTBUS, "doctor", "--json"];
  const { stdout } = Bun.spawnSync(command, { cwd: place.path, env: plainEnvironment() });
  const { findings } = JSON.parse(stdout.toString()) as { findings: Finding[] };
  expect(of(findings, "open files")).toMatchObject({
    state: "warning",
    finding: expect.stringContaining("300"),
    advice: expect.stringContaining("LimitNOFILE"),
  });
});

test("how long a provider takes", async () => {
  await using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => Response.json({ data: [] }),
  });
  using place = gatewayPlace(
    `[server]\nport = 0\ndata_dir = "data"\n[llm.providers.box]\nbase_url = "http://127.0.0.1:${server.port}/v1"\n`,
  );
  const { findings } = await place.doctor();
  expect(of(findings, "provider")?.finding).toMatch(
    /^box answers at http:\/\/127\.0\.0\.1:\d+\/v1 in \d+ ms$/,
  );
});

test("a gateway that does not go by its file: what waits for a restart, and what is wrong", async () => {
  using place = gatewayPlace();
  await using _gateway = await serve(place.path, []);
  const running = await place.doctor();
  expect(of(running.findings, "gateway")).toMatchObject({
    state: "ok",
    finding: expect.stringContaining("healthy"),
  });
  expect(of(running.findings, "port")?.finding).toContain("in use by this gateway");
  place.file("agentbus.toml", `${BASE}[storage]\ndurability = "normal"\n`);
  await agentbus(["config", "reload"], { cwd: place.path });
  const { code, findings } = await place.doctor();
  expect(code).toBe(0);
  expect(of(findings, "configuration")).toMatchObject({
    state: "warning",
    finding: expect.stringContaining("storage.durability"),
    advice: expect.stringContaining("restart"),
  });
  place.file("agentbus.toml", `${BASE}[storage]\ndurability = "most"\n`);
  expect(of((await place.doctor()).findings, "configuration")).toMatchObject({ state: "failed" });
});
