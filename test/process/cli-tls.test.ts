import { describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { makeCertificate, readMade, shownAt } from "../support/certificates.ts";
import type { Outcome, Served } from "../support/executable.ts";
import { agentbus, AGENTBUS, inTerminal, plainEnvironment, serve, workplace } from "../support/executable.ts";
import { needs } from "../support/needs.ts";

const HAS_OPENSSL = needs("openssl", "openssl");
const AUTO = ["--port", "0", "--data-dir", "data"];
const TLS_AUTO = { AGENTBUS_SERVER_TLS_MODE: "auto" };

/** A machine that knows nothing of the gateway but what it is told. */
async function elsewhere(argv: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  using place = workplace();
  return await agentbus(argv, {
    cwd: place.path,
    env: { HOME: place.path, XDG_DATA_HOME: place.path, ...env },
  });
}

function made(place: string) {
  const tls = join(place, "data", "tls");
  return readMade(join(tls, "cert.pem"), join(tls, "key.pem"));
}

describe.skipIf(!HAS_OPENSSL)("commands over TLS", () => {
  test("on the gateway's machine need nothing more than without", async () => {
    using place = workplace();
    await using gateway = await serve(place.path, AUTO, TLS_AUTO);
    expect(gateway.url).toStartWith("https://");
    const { fingerprint } = made(place.path);
    expect(await shownAt(`127.0.0.1:${gateway.port}`)).toBe(fingerprint);
    const local = (...argv: string[]) =>
      agentbus([...argv, "--data-dir", "data"], { cwd: place.path, env: { HOME: place.path } });
    const status = await local("status");
    expect([status.code, status.err]).toEqual([0, ""]);
    expect(status.out).toContain(`certificate   SHA-256 ${fingerprint}, until `);
    expect(JSON.parse((await local("status", "--json")).out)).toMatchObject({
      url: gateway.url,
      certificate: { fingerprint },
    });
    const chat = await local("chat", "Hello");
    expect([chat.code, chat.err]).toEqual([0, ""]);
    expect((await local("status", "--url", gateway.url.replace("127.0.0.1", "localhost"))).code).toBe(0);
    expect((await local("token", "list")).code).toBe(0);
    expect((await local("doctor")).out).toMatch(/✓ gateway +healthy at https:/);
  });

  test("elsewhere believe a fingerprint or a file, and nobody without one", async () => {
    using place = workplace();
    await using gateway = await serve(place.path, AUTO, TLS_AUTO);
    const { fingerprint, cert_file } = made(place.path);
    const token = (await Bun.file(join(place.path, "data", "token")).text()).trim();
    const status = (argv: string[], env: Record<string, string> = {}) =>
      elsewhere(["status", "--url", gateway.url, ...argv], { AGENTBUS_TOKEN: token, ...env });

    const bare = fingerprint.replaceAll(":", "").toLowerCase();
    for (const [argv, env] of [
      [["--fingerprint", fingerprint], {}],
      [["--fingerprint", `sha256:${bare}`], {}],
      [["--ca", cert_file], {}],
      [[], { AGENTBUS_FINGERPRINT: fingerprint }],
      [[], { AGENTBUS_CA: cert_file }],
    ] as [string[], Record<string, string>][]) {
      const { code, err } = await status(argv, env);
      expect([argv, env, code, err]).toEqual([argv, env, 0, ""]);
    }

    const nothing = await status([]);
    expect([nothing.code, nothing.out]).toEqual([3, ""]);
    expect(nothing.err).toMatch(/^agentbus: [^\n]*TLS handshake failed[^\n]*--fingerprint or --ca[^\n]*\n$/);
    const other = makeCertificate(place.path, "other");
    expect((await status(["--ca", other.cert_file])).code).toBe(3);
    const wrong = await status(["--fingerprint", other.fingerprint]);
    expect([wrong.code, wrong.out]).toEqual([1, ""]);
    expect(wrong.err).toContain(`shows another certificate, SHA-256 ${fingerprint}`);
    expect((await status(["--fingerprint", "12:34"])).code).toBe(2);
    expect((await status(["--fingerprint", fingerprint, "--ca", cert_file])).code).toBe(2);
    const open = ["--url", gateway.url.replace("https", "http")];
    for (const known of [
      ["--fingerprint", fingerprint],
      ["--ca", cert_file],
    ]) {
      const { code, err } = await elsewhere(["status", ...open, ...known]);
      expect([code, err]).toEqual([2, expect.stringContaining("shows no certificate: write https://")]);
    }
    const plain = await elsewhere(["status", ...open], {
      AGENTBUS_TOKEN: token,
    });
    expect(plain.err).toMatch(/if it speaks TLS, write https:\/\/\n$/);
  });

  test("say what is to be done where it has expired", async () => {
    using place = workplace();
    const old = makeCertificate(place.path, "old", { expired: true });
    const tls = { AGENTBUS_SERVER_TLS_CERT: old.cert_file, AGENTBUS_SERVER_TLS_KEY: old.key_file };
    await using _gateway = await serve(place.path, AUTO, tls);
    const { code, err } = await agentbus(["status", "--data-dir", "data"], { cwd: place.path });
    expect([code, err]).toEqual([3, expect.stringContaining("certificate has expired); renew it")]);
    // Whoever kills what does not live gets no better certificate by that.
    expect((await agentbus(["status", "--alive", "--data-dir", "data"], { cwd: place.path })).code).toBe(0);
  });

  test("say nothing to who shows another certificate", async () => {
    using place = workplace();
    const [theirs, expected] = [makeCertificate(place.path, "theirs"), makeCertificate(place.path, "ours")];
    let said = 0;
    let shaken = 0;
    const impostor = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: theirs.cert, key: theirs.key },
      socket: {
        handshake: () => void shaken++,
        data: (_socket, bytes) => void (said += bytes.length),
      },
    });
    const url = `https://127.0.0.1:${impostor.port}`;
    const token = { AGENTBUS_TOKEN: "agb_not_for_everybody" };
    for (const argv of [["--fingerprint", expected.fingerprint], ["--ca", expected.cert_file], []]) {
      expect((await elsewhere(["status", "--url", url, ...argv], token)).code).not.toBe(0);
    }
    expect([shaken > 0, said]).toEqual([true, 0]);
    impostor.stop(true);
  });

  test("believe the fingerprint alone, whoever else vouches for what is shown, and whenever", async () => {
    using place = workplace();
    const authority = makeCertificate(place.path, "authority", { authority: true });
    const theirs = makeCertificate(place.path, "theirs", { by: authority });
    const expected = makeCertificate(place.path, "ours");
    let said = 0;
    let shaken = 0;
    const impostor = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: theirs.cert, key: theirs.key },
      socket: {
        handshake: () => void shaken++,
        data(socket, bytes) {
          said += bytes.length;
          socket.end();
        },
      },
    });
    // Whoever stands between can keep the first look from being answered, and answer afterwards.
    let connections = 0;
    const between = Bun.listen<{ to: Awaited<ReturnType<typeof Bun.connect>> | null; held: Buffer[] }>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        async open(socket) {
          socket.data = { to: null, held: [] };
          if (connections++ === 0) return void socket.terminate();
          socket.data.to = await Bun.connect({
            hostname: "127.0.0.1",
            port: impostor.port,
            socket: { data: (_to, bytes) => void socket.write(bytes), close: () => void socket.end() },
          });
          for (const bytes of socket.data.held) socket.data.to.write(bytes);
          return undefined;
        },
        data(socket, bytes) {
          if (socket.data.to === null) socket.data.held.push(Buffer.from(bytes));
          else socket.data.to.write(bytes);
        },
        close: (socket) => void socket.data.to?.end(),
      },
    });
    const url = `https://localhost:${between.port}`;
    const trusted = { AGENTBUS_TOKEN: "agb_not_for_everybody", NODE_EXTRA_CA_CERTS: authority.cert_file };
    const outcome = await elsewhere(["status", "--url", url, "--fingerprint", expected.fingerprint], trusted);
    expect([outcome.code, outcome.out, connections, shaken, said]).toEqual([3, "", 2, 1, 0]);
    // Without the fingerprint that authority would do.
    await elsewhere(["status", "--url", url], trusted);
    expect(said).toBeGreaterThan(0);
    between.stop(true);
    impostor.stop(true);
  });

  test("show a certificate of their own where the gateway asks for one", async () => {
    using place = workplace();
    const authority = makeCertificate(place.path, "authority", { authority: true });
    const known = makeCertificate(place.path, "known", { by: authority });
    const mine = place.file("mine.pem", `${known.cert}\n${known.key}`);
    const env = { ...TLS_AUTO, AGENTBUS_SERVER_TLS_CLIENT_CA: authority.cert_file };
    await using _gateway = await serve(place.path, AUTO, env);
    const local = (argv: string[], more: Record<string, string> = {}) =>
      agentbus(["status", "--data-dir", "data", ...argv], { cwd: place.path, env: more });
    const without = await local([]);
    expect([without.code, without.out]).toEqual([3, ""]);
    expect(without.err).toContain("--client-cert");
    expect((await local(["--client-cert", mine])).code).toBe(0);
    expect((await local([], { AGENTBUS_CLIENT_CERT: mine })).code).toBe(0);
  });

  test("come back to a local gateway that has another certificate", async () => {
    using place = workplace();
    const start = (port: number): Promise<Served> =>
      serve(place.path, ["--port", String(port), "--data-dir", "data"], TLS_AUTO);
    let gateway = await start(0);
    const { port } = gateway;
    const local = (...argv: string[]) => agentbus([...argv, "--data-dir", "data"], { cwd: place.path });
    expect((await local("call", "session.create", '{"session_id":"s"}')).code).toBe(0);
    await using watch = inTerminal(["watch", "s", "--data-dir", "data"], { cwd: place.path });
    await watch.until("its beginning", (shown) => shown.includes("session.snapshot"));
    const before = made(place.path).fingerprint;
    gateway.signal("SIGTERM");
    await gateway.exited;
    rmSync(join(place.path, "data", "tls"), { recursive: true });
    gateway = await start(port);
    expect(made(place.path).fingerprint).not.toBe(before);
    const title = '{"session_id":"s","title":"seen again"}';
    expect((await local("call", "session.update", title)).code).toBe(0);
    await watch.until("what came after", (shown) => shown.includes("seen again"));
    await gateway[Symbol.asyncDispose]();
  });
});

describe.skipIf(!HAS_OPENSSL)("what is said of the certificate", () => {
  test("at a terminal its fingerprint, and that nobody vouches for it", async () => {
    using place = workplace();
    const argv = ["serve", ...AUTO, "--host", "0.0.0.0"];
    await using gateway = inTerminal(argv, { cwd: place.path, env: TLS_AUTO });
    await gateway.until("that it listens", (shown) => shown.includes("Ctrl-C stops it"));
    const outside = Object.values(networkInterfaces())
      .flatMap((all) => all ?? [])
      .filter(({ internal, family }) => !internal && family === "IPv4");
    const port = /listening  https:\/\/127\.0\.0\.1:(\d+)\n/.exec(gateway.shown)?.[1];
    for (const { address } of outside) {
      expect(gateway.shown).toContain(`elsewhere  https://${address}:${port}\n`);
      expect(await shownAt(`${address}:${port}`)).toBe(made(place.path).fingerprint);
    }
    expect(gateway.shown).toContain(`SHA-256    ${made(place.path).fingerprint}`);
    expect(gateway.shown).toContain("nobody vouches for this certificate");
  });

  test("by the doctor, what is wrong with it", async () => {
    using place = workplace();
    const [one, other] = [makeCertificate(place.path, "one"), makeCertificate(place.path, "other")];
    const doctor = async (tls: Record<string, string>): Promise<Record<string, string> | undefined> => {
      const env = Object.fromEntries(
        Object.entries(tls).map(([key, value]) => [`AGENTBUS_SERVER_TLS_${key.toUpperCase()}`, value]),
      );
      const { out } = await agentbus(["doctor", "--json", ...AUTO], { cwd: place.path, env });
      return JSON.parse(out).findings.find(({ check }: { check: string }) => check === "certificate");
    };
    expect(await doctor({})).toBeUndefined();
    expect(await doctor({ mode: "auto" })).toMatchObject({
      state: "ok",
      finding: expect.stringContaining("made at the first start"),
    });
    expect(await doctor({ cert: one.cert_file, key: one.key_file })).toMatchObject({
      state: "ok",
      finding: expect.stringContaining(one.fingerprint),
    });
    expect(await doctor({ cert: one.cert_file, key: other.key_file })).toMatchObject({
      state: "failed",
      finding: expect.stringContaining("is not the key of the certificate"),
    });
  });
});

test.skipIf(!HAS_OPENSSL)("a second gateway on the port of the first is told that it is in use", async () => {
  using place = workplace();
  await using gateway = await serve(place.path, AUTO, TLS_AUTO);
  const second = Bun.spawn([...AGENTBUS, "serve", "--port", String(gateway.port), "--data-dir", "other"], {
    cwd: place.path,
    env: plainEnvironment(TLS_AUTO),
    stdout: "ignore",
    stderr: "pipe",
  });
  const said = await new Response(second.stderr).text();
  expect([await second.exited, said]).toEqual([
    1,
    `agentbus: 127.0.0.1:${gateway.port} is in use: stop what listens there, or set server.port to a free port\n`,
  ]);
});
