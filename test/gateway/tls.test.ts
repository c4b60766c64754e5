import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { chmodSync, copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MadeCertificate } from "../support/certificates.ts";
import { makeCertificate, readMade, shownAt } from "../support/certificates.ts";
import { workplace } from "../support/executable.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import { openEvents } from "../support/sse-client.ts";
import type { ReceivedFrame } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import { eventually } from "./stack.ts";

const HAS_OPENSSL = needs("openssl", "openssl");
/** How soon a new connection sees a new certificate. */
const RELOAD_MS = 5_000;
/** How long a client on a busy machine may need to see it. */
const PATIENCE_MS = 20_000;

const folder = workplace();
let first: MadeCertificate;
let second: MadeCertificate;
beforeAll(() => {
  if (!HAS_OPENSSL) return;
  first = makeCertificate(folder.path, "first");
  second = makeCertificate(folder.path, "second");
});
afterAll(() => folder[Symbol.dispose]());

interface Exchangeable extends AsyncDisposable {
  readonly gateway: RunningGateway;
  /** Puts other files in the place of those the gateway was started with. */
  put(next: { readonly cert_file: string; readonly key_file: string }): void;
}

async function startWith(pair: MadeCertificate): Promise<Exchangeable> {
  const own = workplace();
  const [cert, key] = [join(own.path, "cert.pem"), join(own.path, "key.pem")];
  const put: Exchangeable["put"] = (next) => {
    copyFileSync(next.cert_file, cert);
    copyFileSync(next.key_file, key);
  };
  put(pair);
  const gateway = await startGateway({ config: { server: { tls: { cert, key } } } });
  return {
    gateway,
    put,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      own[Symbol.dispose]();
    },
  };
}

/** The numbers of the events that were sent. */
function numbers(frames: readonly { readonly json: ReceivedFrame["json"] }[]): number[] {
  return frames.filter(({ json }) => json.event === "app.tick").map(({ json }) => json.payload.number);
}

describe.skipIf(!HAS_OPENSSL)("a certificate of one's own", () => {
  test("new files: new connections see them within 5 s, open ones lose nothing", async () => {
    await using at = await startWith(first);
    const { gateway, put } = at;
    expect(gateway.url).toStartWith("https://");
    const headers = { authorization: `Bearer ${gateway.token}` };
    const trusted = (pair: MadeCertificate) => ({ headers, tls: { ca: pair.cert } });
    await using socket = await openSocket(gateway.ws_url, trusted(first));
    await socket.request("session.create", { session_id: "s" });
    await socket.request("session.subscribe", { session_id: "s", after: 0 });
    const stream = await openEvents(`${gateway.url}/api/v1/sessions/s/events`, trusted(first));
    const streamed: number[] = [];
    const ticks = (async () => {
      for await (const { event, data } of stream) {
        if (event === "app.tick") streamed.push(JSON.parse(data).payload.number);
      }
    })().catch(() => undefined);

    let sent = 0;
    const tick = (): Promise<unknown> =>
      socket.request("event.send", {
        session_id: "s",
        event: "app.tick",
        payload: { number: sent++ },
        durable: true,
      });
    for (let count = 0; count < 20; count++) await tick();
    put(second);
    const changed = Date.now();
    for (const end = changed + PATIENCE_MS; (await shownAt(gateway.address)) !== second.fingerprint;) {
      expect(Date.now()).toBeLessThan(end);
      await tick();
    }
    const taken = gateway.log.find(({ fingerprint }) => fingerprint === second.fingerprint);
    expect(Date.parse(String(taken?.["time"])) - changed).toBeWithin(-1_000, RELOAD_MS);
    // What the commands on the machine go by.
    const { certificate } = JSON.parse(readFileSync(join(gateway.data_dir, "gateway.json"), "utf8"));
    expect(certificate).toBe(second.cert);
    await using late = await openSocket(gateway.ws_url, trusted(second));
    await late.request("session.subscribe", { session_id: "s", after: 0 });
    for (let count = 0; count < 20; count++) await tick();

    const all = Array.from({ length: sent }, (_each, number) => number);
    const isLast = ({ json }: ReceivedFrame): boolean => json.payload?.number === sent - 1;
    await Promise.all([socket.next(isLast), late.next(isLast)]);
    await eventually(
      () => streamed.length,
      (length) => length >= sent,
    );
    expect(numbers(socket.frames)).toEqual(all);
    expect(numbers(late.frames)).toEqual(all);
    expect(streamed).toEqual(all);
    // Everybody is one of the same gateway's, whichever server they came in by.
    const clients = await late.request("client.list");
    expect(clients.clients.map(({ remote }: { remote: string }) => remote)).toEqual(
      Array.from({ length: clients.clients.length }, () => "127.0.0.1"),
    );
    stream.close();
    await ticks;

    // At the end nobody is forgotten, either.
    gateway.kill();
    expect([(await socket.closed).code, (await late.closed).code, await gateway.exited]).toEqual([
      1012, 1012, 0,
    ]);
  });

  test("a pair that does not go together leaves the last one in place, and is told once", async () => {
    await using at = await startWith(first);
    const { gateway, put } = at;
    put({ cert_file: second.cert_file, key_file: first.key_file });
    const told = (): unknown[] =>
      gateway.log.filter(({ msg }) => msg.includes("the last one stays")).map(({ reason }) => reason);
    await eventually(told, (lines) => lines.length > 0, 15_000);
    expect(told()).toEqual([expect.stringContaining("is not the key of the certificate")]);
    expect(await shownAt(gateway.address)).toBe(first.fingerprint);
    put(second);
    await eventually(
      () => shownAt(gateway.address),
      (shown) => shown === second.fingerprint,
      15_000,
    );
    expect(told()).toHaveLength(1);
    expect(JSON.stringify(gateway.log)).not.toContain("PRIVATE KEY");
  });

  test("pages of its own origin come in, and every answer has the headers of the others", async () => {
    await using at = await startWith(first);
    const { gateway } = at;
    const { host } = new URL(gateway.url);
    const ask = (origin: string): Promise<Response> =>
      fetch(`${gateway.url}/api/v1/sessions`, {
        method: "POST",
        body: "{}",
        headers: {
          origin,
          "content-type": "application/json",
          authorization: `Bearer ${gateway.token}`,
        },
        tls: { ca: first.cert },
      });
    const own = await ask(`https://${host}`);
    expect(own.status).toBe(201);
    expect((await ask(`http://${host}`)).status).toBe(403);
    expect([own.headers.get("x-content-type-options"), own.headers.get("strict-transport-security")]).toEqual(
      ["nosniff", null],
    );
  });
});

describe.skipIf(!HAS_OPENSSL)("what cannot be used ends the start with one line", () => {
  const file = (name: string, text: string): string => {
    const path = join(folder.path, name);
    writeFileSync(path, text);
    return path;
  };
  const pair = () => ({ cert: first.cert_file, key: first.key_file });
  const cases: [string, () => Record<string, string>, string][] = [
    ["no certificate", () => ({ ...pair(), cert: join(folder.path, "none.pem") }), "there is no such file"],
    ["no key", () => ({ ...pair(), key: join(folder.path, "none.pem") }), "there is no such file"],
    ["a certificate that is none", () => ({ ...pair(), cert: file("no.pem", "x") }), "holds no certificate"],
    ["a key that is none", () => ({ ...pair(), key: first.cert_file }), "holds no key"],
    [
      "a key with a passphrase",
      () => ({ ...pair(), key: file("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----") }),
      "it has a passphrase",
    ],
    ["the key of another", () => ({ ...pair(), key: second.key_file }), "is not the key of the certificate"],
    [
      "a broken certificate",
      () => ({
        ...pair(),
        cert: file("broken.pem", first.cert.replace(/\n.{10}/, "\nAAAAAAAAAA")),
      }),
      "a certificate in it is broken",
    ],
    ["no authority", () => ({ ...pair(), client_ca: first.key_file }), "holds no certificate"],
  ];
  test.each(cases)("%s", async (_what, tls, said) => {
    const outcome = await startGateway({ config: { server: { tls: tls() } } }).then(
      async (gateway) => {
        await gateway[Symbol.asyncDispose]();
        return "it listens";
      },
      (error: Error) => error.message,
    );
    const [ended = "", ...lines] = outcome.split("\n");
    // Whoever looks after it tries again: the files may be others by then.
    expect(ended).toContain("ended with 1");
    expect(lines).toEqual([expect.stringMatching(/^agentbus: server\.tls\.(cert|key|client_ca)\b/)]);
    expect(lines[0]).toContain(said);
  });
});

test.skipIf(!HAS_OPENSSL)("a certificate that has expired is shown all the same, and told", async () => {
  const old = makeCertificate(folder.path, "old", { expired: true });
  const tls = { cert: old.cert_file, key: old.key_file };
  await using gateway = await startGateway({ config: { server: { tls } } });
  expect(await shownAt(gateway.address)).toBe(old.fingerprint);
  expect(gateway.log.find(({ msg }) => msg.startsWith("the certificate has expired"))).toBeDefined();
});

describe.skipIf(!HAS_OPENSSL)('tls.mode "auto"', () => {
  test("makes a certificate, shows its fingerprint and keeps it for the next start", async () => {
    await using gateway = await startGateway({ config: { server: { tls: { mode: "auto" } } } });
    const tls = join(gateway.data_dir, "tls");
    const made = readMade(join(tls, "cert.pem"), join(tls, "key.pem"));
    const said = (): unknown => gateway.log.find(({ msg }) => msg === "listening")?.["fingerprint"];
    expect(said()).toBe(made.fingerprint);
    expect(await shownAt(gateway.address)).toBe(made.fingerprint);
    // Nobody is answered in a version that can be broken; what openssl no longer likes to speak, it has to be told to.
    expect(await shownAt(gateway.address, ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"])).toBeNull();
    expect([statSync(tls).mode & 0o777, statSync(join(tls, "key.pem")).mode & 0o777]).toEqual([0o700, 0o600]);
    // It names this machine as every client calls it, and a client needs nothing else to believe it.
    const { host, port } = new URL(gateway.url);
    for (const name of [host, `localhost:${port}`]) {
      const answer = await fetch(`https://${name}/health`, { tls: { ca: made.cert } });
      expect([name, answer.status]).toEqual([name, 200]);
    }
    await expect(fetch(`${gateway.url}/health`)).rejects.toThrow("certificate");
    const headers = { authorization: `Bearer ${gateway.token}` };
    const shown = await fetch(`${gateway.url}/metrics`, { headers, tls: { ca: made.cert } });
    const ends = Date.parse(new X509Certificate(made.cert).validTo) / 1_000;
    expect(await shown.text()).toContain(`\nagentbus_certificate_expiry_timestamp_seconds ${ends}\n`);
    chmodSync(join(tls, "key.pem"), 0o644);
    gateway.kill();
    await gateway.restart();
    expect(said()).toBe(made.fingerprint);
    expect(statSync(join(tls, "key.pem")).mode & 0o777).toBe(0o600);
    expect(gateway.log.some(({ msg }) => msg.startsWith("others could read the key"))).toBe(true);
  });
});
