import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { ERRORS } from "../../src/protocol/errors.ts";
import { answers, HAS_CHROMIUM, say, startChromium, visitIn } from "../console/visitor.ts";
import type { Stack } from "../gateway/stack.ts";
import { eventually, startStack } from "../gateway/stack.ts";
import type { MadeCertificate } from "../support/certificates.ts";
import { makeCertificate } from "../support/certificates.ts";
import { agentbus, workplace } from "../support/executable.ts";
import { freePort } from "../support/free-port.ts";
import { script } from "../support/model-script.ts";
import { needs } from "../support/needs.ts";
import type { Filling, RunningProxy } from "../support/proxies.ts";
import { filled, nginxFilling, startCaddy, startNginx } from "../support/proxies.ts";
import { openEvents } from "../support/sse-client.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";

/**
 * The examples of deploy/, as they are committed: each is filled in the way its reader would, started by the program it is
 * for, and asked through.
 */
const HAS_NGINX = needs("nginx", "nginx") && needs("curl", "curl") && needs("openssl", "openssl");
const HAS_CADDY = needs("caddy", "caddy") && needs("curl", "curl") && needs("openssl", "openssl");
const LONG_MS = 60_000;
/** Longer than what the examples are started with times out by default. */
const SILENCE_MS = 3_000;

const folder = workplace();
let certificate: MadeCertificate;
let browser: Browser | undefined;
beforeAll(async () => {
  if (HAS_NGINX || HAS_CADDY) certificate = makeCertificate(folder.path, "proxy");
  if (HAS_CHROMIUM) browser = await startChromium();
}, LONG_MS);
afterAll(async () => {
  await browser?.close();
  folder[Symbol.dispose]();
});

interface Example {
  readonly file: string;
  readonly isHere: boolean;
  /** The port of the proxy, one more for whatever it needs, the ports of the gateway's listeners, and what else differs. */
  start(port: number, spare: number, listeners: readonly number[], more?: Filling): Promise<RunningProxy>;
}

/** `upstreams` stand in the example for the gateway's listeners. */
function exampleOfNginx(file: string, upstreams: readonly string[]): Example {
  return {
    file,
    isHere: HAS_NGINX,
    start(port, spare, listeners, more = {}) {
      const places = upstreams.map((upstream, at) => [upstream, `127.0.0.1:${listeners[at]}`]);
      const site = filled(file, {
        ...nginxFilling(port, certificate),
        "listen 80;": `listen 127.0.0.1:${spare};`,
        "listen [::]:80;": "",
        ...(Object.fromEntries(places) as Filling),
        ...more,
      });
      return startNginx(site, port);
    },
  };
}

const EXAMPLES: readonly Example[] = [
  exampleOfNginx("deploy/nginx/agentbus.conf", ["127.0.0.1:18789"]),
  exampleOfNginx("deploy/nginx/two-upstreams.conf", ["127.0.0.1:18789", "127.0.0.1:18790"]),
  {
    file: "deploy/caddy/Caddyfile",
    isHere: HAS_CADDY,
    start(port, _spare, [gateway]) {
      const { cert_file, key_file } = certificate;
      const site = filled("deploy/caddy/Caddyfile", {
        "agent.example.com {": `https://localhost:${port} {`,
        "# tls /etc/agentbus/fullchain.pem /etc/agentbus/privkey.pem": `tls ${cert_file} ${key_file}`,
        "127.0.0.1:18789": `127.0.0.1:${gateway}`,
      });
      return startCaddy(site, port);
    },
  },
];

describe.each(EXAMPLES.filter(({ isHere }) => isHere))("$file", (example) => {
  let stack: Stack;
  let proxy: RunningProxy;
  let url: string;
  let spare: number;
  let listeners: readonly number[];
  beforeAll(async () => {
    const port = await freePort();
    spare = await freePort();
    url = `https://localhost:${port}`;
    const server = { public_url: url, trusted_proxies: ["127.0.0.1"] };
    stack = await startStack({ config: { server, gateway: { bind: "127.0.0.1:0" } } });
    stack.model.otherwise(() => script().tokens(40, { everyMs: 3 }));
    const { urls } = stack.gateway.log.find(({ msg }) => msg === "listening") as unknown as {
      urls: string[];
    };
    listeners = urls.map((each) => Number(new URL(each).port));
    proxy = await example.start(port, spare, listeners);
  }, LONG_MS);
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await stack?.[Symbol.asyncDispose]();
  });

  const tls = () => ({ ca: certificate.cert });
  const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${url}${path}`, {
      ...init,
      headers: { ...stack.owner.bearer, ...(init.headers as Record<string, string>) },
      tls: tls(),
    } as RequestInit);

  async function curl(...argv: readonly string[]): Promise<string> {
    const words = ["curl", "-s", "-4", "--max-time", "20", "--cacert", certificate.cert_file, ...argv];
    const child = Bun.spawn(words, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    return new Response(child.stdout).text();
  }

  test(
    "passes every check of the protocol",
    async () => {
      using place = workplace();
      place.file("token", stack.gateway.token);
      const argv = ["demo", "--url", url, "--token-file", join(place.path, "token"), "--json"];
      const { out, code } = await agentbus([...argv, "--ca", certificate.cert_file], { cwd: place.path });
      const { checks } = JSON.parse(out) as { checks: { status: string }[] };
      expect(checks.filter(({ status }) => status !== "ok")).toEqual([]);
      expect([code, checks.length > 25]).toEqual([0, true]);
    },
    LONG_MS,
  );

  test("takes sockets at both paths, and over HTTP/2 everything else", async () => {
    for (const path of ["/ws", "/ws/"]) {
      await using socket = await openSocket(`${url}${path}`, { headers: stack.owner.bearer, tls: tls() });
      expect(await socket.request("heartbeat")).toEqual({ ts: expect.any(Number) });
    }
    const told = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}", `${url}/health`];
    expect(await curl("--http2", ...told)).toBe("2 200");
    expect(await curl("--http1.1", ...told)).toBe("1.1 200");
  });

  test("passes on each event as it comes, and tells the gateway who left", async () => {
    stack.model.reply().text("first ").hang();
    const events = await openEvents(`${url}/api/v1/chat`, {
      method: "POST",
      headers: stack.owner.bearer,
      body: { session_id: "held", message: "Hello" },
      tls: tls(),
    });
    // The model says nothing more: who waits for more of the stream than this waits for ever.
    expect((await events.next(({ data }) => data.includes("first"))).event).toBe("message");
    const readers = async (): Promise<number> => (await stack.owner.call("system.status")).connections;
    expect(await readers()).toBe(1);
    events.close();
    await eventually(readers, (count) => count === 0);
    await stack.owner.call("chat.abort", { session_id: "held" });
  });

  test("waits as long as a run, and as long as nothing is said on a stream or a socket", async () => {
    await stack.owner.call("session.create", { session_id: "silent" });
    const headers = stack.owner.bearer;
    await using socket = await openSocket(`${url}/ws`, { headers, tls: tls() });
    await socket.request("session.subscribe", { session_id: "silent" });
    const events = await openEvents(`${url}/api/v1/sessions/silent/events`, { headers, tls: tls() });
    stack.model.reply().wait(SILENCE_MS).text("at last");
    const body = JSON.stringify({ session_id: "silent", message: "Take your time", wait: true });
    const answer = await ask("/api/v1/chat", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    expect([answer.status, ((await answer.json()) as { content: string }).content]).toEqual([200, "at last"]);
    await socket.nextEvent("run.completed");
    await events.next(({ event }) => event === "run.completed");
    events.close();
  });

  test("shows the gateway where a client is, whatever that writes itself", async () => {
    const forged = [
      "X-Forwarded-For: 6.6.6.6",
      "X-Real-IP: 6.6.6.6",
      "Tailscale-User-Login: ada@example.com",
    ];
    const headers = forged.flatMap((header) => ["-H", header]);
    const since = Date.now();
    let guesses = 0;
    const guess = async (from: string, at: string, times = 1): Promise<string[]> => {
      const told = ["-s", "-o", "/dev/null", "-w", "%{http_code}\n", `${at}/api/v1/sessions`];
      const each = (): string[] => {
        const bearer = `Authorization: Bearer agb_${String(++guesses).padStart(43, "A")}`;
        return [
          "--interface",
          from,
          "-4",
          "--cacert",
          certificate.cert_file,
          ...headers,
          "-H",
          bearer,
          ...told,
        ];
      };
      const all = Array.from({ length: times }, each).flatMap((words) => ["--next", ...words]);
      return (await curl(...all.slice(1))).trim().split("\n");
    };
    // Each address is throttled for itself: a proxy that is taken for its clients would lock all of them out.
    expect(await guess("127.0.0.7", url, 15)).toContain("429");
    expect(await guess("127.0.0.8", url)).toEqual(["401"]);
    // Who comes without the proxy is believed nothing.
    expect(await guess("127.0.0.9", stack.gateway.url, 15)).toContain("429");
    const refused = async (): Promise<{ remote: string }[]> => {
      const { entries } = await stack.owner.call("audit.list", { limit: 200 });
      return (entries as { outcome: string; remote: string; ts: number }[]).filter(
        ({ outcome, ts }) => outcome !== "ok" && ts >= since,
      );
    };
    const addresses = async (): Promise<string> =>
      [...new Set((await refused()).map(({ remote }) => remote))].sort().join(" ");
    await eventually(addresses, (seen) => seen === "127.0.0.7 127.0.0.8 127.0.0.9");
    expect(JSON.stringify(await refused())).not.toContain("6.6.6.6");
  });

  test("takes files as large as the gateway does, and leaves the refusal to it", async () => {
    const line = "a line of a large file\n";
    const upload = (content: string): Promise<Response> =>
      ask("/api/v1/attachments?name=large.txt", { method: "POST", body: content });
    const content = line.repeat((7 * 1024 * 1024) / line.length);
    const taken = await upload(content);
    const sha256 = new Bun.CryptoHasher("sha256").update(content).digest("hex");
    expect([taken.status, await taken.json()]).toMatchObject([201, { bytes: content.length, sha256 }]);
    const refused = await upload(line.repeat((9 * 1024 * 1024) / line.length));
    expect([refused.status, await refused.json()]).toMatchObject([413, { error: { code: "TOO_LARGE" } }]);
    for (const mib of [11, 12, 13, 13, 14, 14, 30, 60]) {
      const { status } = await upload(line.repeat((mib * 1024 * 1024) / line.length));
      expect([mib, status]).toEqual([mib, 413]);
    }
  });

  test(
    "is the gateway's own address to a browser, and no other site is",
    async () => {
      const upgrade = (origin: string): Promise<number> =>
        requestUpgrade(`${url}/ws`, { ...stack.owner.bearer, origin }, tls()).then(({ status }) => status);
      expect(await upgrade("https://evil.example")).toBe(403);
      const page = await ask("/");
      expect(page.headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
      expect(await page.text()).toContain(url);
      if (browser === undefined) return;
      await using visitor = await visitIn(browser, stack.gateway, { at: url, ignoreHTTPSErrors: true });
      await say(visitor.page, "Who is there?");
      expect((await answers(visitor.page, 1))[0]).toContain("t39");
      expect(visitor.complaints).toEqual([]);
      expect([...visitor.hosts]).toEqual([new URL(url).host]);
    },
    LONG_MS,
  );

  if (!example.file.startsWith("deploy/nginx/")) return;
  test("tells those whose address has too many connections so that clients know it, and lets others in", async () => {
    const [port, other] = [await freePort(), await freePort()];
    await using _crowded = await example.start(port, other, listeners, {
      "agentbus_clients 500": "agentbus_clients 2",
    });
    const at = `https://localhost:${port}/api/v1/sessions`;
    await stack.owner.call("session.create", { session_id: "crowded" });
    const { bearer: headers } = stack.owner;
    const streams = await Promise.all(
      [1, 2].map(() => openEvents(`${at}/crowded/events`, { headers, tls: tls() })),
    );
    const refused = await fetch(at, { headers, tls: tls() } as RequestInit);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "2"]);
    const { status, retryable } = ERRORS.RATE_LIMITED;
    const message = expect.stringContaining("limit_conn");
    const error = { code: "RATE_LIMITED", status, message, retryable, retry_after_ms: 2_000 };
    expect(await refused.json()).toEqual({ error });
    const bearer = ["-H", `authorization: ${headers.authorization}`];
    const told = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}", at];
    expect(await curl("--http2", ...bearer, ...told)).toBe("2 429");
    expect(await curl("--interface", "127.0.0.7", ...bearer, ...told)).toBe("2 200");
    for (const stream of streams) stream.close();
    await eventually(
      () => curl(...bearer, ...told),
      (answer) => answer === "2 200",
    );
  });

  test("leads from http:// to https://", async () => {
    const told = ["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}"];
    expect(await curl(...told, `http://localhost:${spare}/docs?x=1`)).toBe("301 https://localhost/docs?x=1");
  });
});
