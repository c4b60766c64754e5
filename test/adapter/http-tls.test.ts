import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { TlsFiles } from "../../src/transport/listener.ts";
import { Ports } from "../../src/transport/listener.ts";
import { createHttp } from "../../src/transport/http.ts";
import { createSockets } from "../../src/transport/ws.ts";
import type { MadeCertificate } from "../support/certificates.ts";
import { makeCertificate, shownAt } from "../support/certificates.ts";
import { workplace } from "../support/executable.ts";
import { needs } from "../support/needs.ts";
import { until } from "../support/serve-sockets.ts";
import { openSocket } from "../support/ws-client.ts";
import { bearer, startHttp } from "./http.fixture.ts";

const HAS_OPENSSL = needs("openssl", "openssl");
const folder = workplace();
let first: MadeCertificate;
let second: MadeCertificate;
let authority: MadeCertificate;
beforeAll(() => {
  if (!HAS_OPENSSL) return;
  first = makeCertificate(folder.path, "first");
  second = makeCertificate(folder.path, "second");
  authority = makeCertificate(folder.path, "authority", { authority: true });
});
afterAll(() => folder[Symbol.dispose]());

function files({ cert, key }: MadeCertificate, client_ca: string | null = null): TlsFiles {
  return { cert, key, client_ca };
}

/** Ports that answer what they are called; the names of the servers that ended. */
function openPorts() {
  const ended: number[] = [];
  let servers = 0;
  const ports = new Ports<undefined>(
    {
      websocket: { message: (ws, message) => void ws.send(message) },
      fetch: async (request, server) =>
        server.upgrade(request, { data: undefined }) ? (undefined as never) : new Response("here"),
      error: () => new Response("failed", { status: 500 }),
    },
    systemClock,
    () => {
      const number = servers++;
      return () => void ended.push(number);
    },
  );
  return { ports, ended, [Symbol.asyncDispose]: () => ports.close() };
}

const HERE = { hostname: "127.0.0.1", port: 0, option: "server.port" };

describe.skipIf(!HAS_OPENSSL)("TLS", () => {
  test("is spoken from version 1.2 on, whoever asks for less is refused", async () => {
    await using at = openPorts();
    const port = await at.ports.open(HERE, files(first));
    // What openssl itself no longer likes to speak, it has to be told to.
    const weak = ["-cipher", "DEFAULT@SECLEVEL=0"];
    const versions = ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"];
    const shown = await Promise.all(
      versions.map((version) => shownAt(`127.0.0.1:${port}`, [version, ...weak])),
    );
    expect(shown).toEqual([null, null, first.fingerprint, first.fingerprint]);
  });

  test("with an authority for clients nobody else comes in", async () => {
    await using at = openPorts();
    const port = await at.ports.open(HERE, files(first, authority.cert));
    const known = makeCertificate(folder.path, "known", { by: authority });
    const stranger = makeCertificate(folder.path, "stranger");
    const url = `https://127.0.0.1:${port}/`;
    const visit = (mine: Bun.TLSOptions): Promise<string> =>
      fetch(url, { tls: { ca: first.cert, ...mine }, keepalive: false }).then(
        (response) => response.text(),
        () => "refused",
      );
    expect(await visit({ cert: known.cert, key: known.key })).toBe("here");
    expect(await visit({})).toBe("refused");
    expect(await visit({ cert: stranger.cert, key: stranger.key })).toBe("refused");
    expect(await visit({ cert: known.cert, key: stranger.key })).toBe("refused");
    await expect(openSocket(url, { tls: { ca: first.cert } })).rejects.toThrow("refused");
    await using socket = await openSocket(url, {
      tls: { ca: first.cert, cert: known.cert, key: known.key },
    });
    socket.send({ type: "echo" });
    expect((await socket.next(() => true)).json).toEqual({ type: "echo" });
  });

  test("a port is nobody else's: not that of a second gateway, shared or not", async () => {
    await using at = openPorts();
    await using other = openPorts();
    const port = await at.ports.open(HERE, files(first));
    for (const tls of [files(second), null]) {
      await expect(other.ports.open({ ...HERE, port }, tls)).rejects.toThrow(
        `127.0.0.1:${port} is in use: stop what listens there, or set server.port to a free port`,
      );
    }
    at.ports.renew(files(second));
    await expect(other.ports.open({ ...HERE, port }, files(first))).rejects.toThrow("is in use");
    expect(await shownAt(`127.0.0.1:${port}`)).toBe(second.fingerprint);
  });
});

describe.skipIf(!HAS_OPENSSL)("a port that two ask for at once", () => {
  test("is nobody's twice", async () => {
    const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
    const { port } = probe;
    probe.stop(true);
    await using one = openPorts();
    await using other = openPorts();
    const outcomes = await Promise.allSettled(
      [one, other].map(({ ports }) => ports.open({ ...HERE, port }, files(first))),
    );
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });
});

describe.skipIf(!HAS_OPENSSL)("another certificate", () => {
  test("is what new connections see; open ones go on, and their server ends with the last of them", async () => {
    await using at = openPorts();
    const port = await at.ports.open(HERE, files(first));
    const url = `https://127.0.0.1:${port}/`;
    await using before = await openSocket(url, { tls: { ca: first.cert } });
    at.ports.renew(files(second));
    expect(await shownAt(`127.0.0.1:${port}`)).toBe(second.fingerprint);
    await using after = await openSocket(url, { tls: { ca: second.cert } });
    for (const socket of [before, after]) {
      socket.send({ still: "here" });
      expect((await socket.next(() => true)).json).toEqual({ still: "here" });
    }
    expect([at.ports.size, at.ended]).toEqual([2, []]);
    before.close();
    await until(() => at.ports.size === 1);
    expect(at.ended).toEqual([0]);
    after.send({ again: true });
    expect((await after.next(({ json }) => json.again === true)).json).toEqual({ again: true });
  });

  test("is taken by every port", async () => {
    await using at = openPorts();
    const ports = [await at.ports.open(HERE, files(first)), await at.ports.open(HERE, files(first))];
    at.ports.renew(files(second));
    at.ports.renew(files(first));
    at.ports.renew(files(second));
    for (const port of ports) expect(await shownAt(`127.0.0.1:${port}`)).toBe(second.fingerprint);
    await until(() => at.ports.size === 2);
  });

  test("that cannot be used changes nothing", async () => {
    await using at = openPorts();
    const port = await at.ports.open(HERE, files(first));
    await at.ports.open({ ...HERE, option: "gateway.bind" }, files(first));
    expect(() => at.ports.renew({ cert: first.cert, key: second.key, client_ca: null })).toThrow();
    expect([at.ports.size, at.ended]).toEqual([2, []]);
    expect(await shownAt(`127.0.0.1:${port}`)).toBe(first.fingerprint);
  });

  test("comes between what is published: sockets of both servers read everything, in order", async () => {
    await using at = await startHttp();
    at.context.doors.checkHost = () => null;
    const sockets = createSockets(at.context);
    const http = createHttp(at.context, sockets);
    const { url } = await http.listen("127.0.0.1", 0, "server.port", files(first));
    const headers = bearer("owner");
    await using before = await openSocket(`${url}/ws`, { headers, tls: { ca: first.cert } });
    await before.request("session.create", { session_id: "s" });
    await before.request("session.subscribe", { session_id: "s", after: 0 });
    http.renew(files(second));
    await using after = await openSocket(`${url}/ws`, { headers, tls: { ca: second.cert } });
    await after.request("session.subscribe", { session_id: "s", after: 0 });
    for (let number = 0; number < 50; number++) {
      await after.request("event.send", {
        session_id: "s",
        event: "app.tick",
        payload: { number },
        durable: true,
      });
    }
    const last = ({ json }: { json: { payload?: { number?: number } } }): boolean =>
      json.payload?.number === 49;
    await Promise.all([before.next(last), after.next(last)]);
    for (const socket of [before, after]) {
      const ticks = socket.frames.filter(({ json }) => json.event === "app.tick");
      expect(ticks.map(({ json }) => json.payload.number)).toEqual(Array.from({ length: 50 }, (_, n) => n));
    }
    await http.stop();
  });
});

test.skipIf(!HAS_OPENSSL)(
  "a host of one or two letters is told so, since no path can be read there",
  async () => {
    await using at = await startHttp();
    at.context.doors.checkHost = () => null;
    const { url } = await at.http.listen("127.0.0.1", 0, "server.port", files(first));
    const visit = async (host: string): Promise<[number, unknown]> => {
      const response = await fetch(`${url}/status`, { headers: { host }, tls: { ca: first.cert } });
      const body = (await response.json()) as { name?: string; error?: { details?: unknown } };
      return [response.status, body.name ?? body.error?.details];
    };
    expect(await visit("pi")).toEqual([400, { kind: "host" }]);
    expect(await visit("nas")).toEqual([200, "agentbus"]);
    expect(await visit("pi:18789")).toEqual([200, "agentbus"]);
  },
);
