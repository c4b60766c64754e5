import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificate } from "../support/certificates.ts";
import { openSite } from "./tool-fetch.fixture.ts";

const site = openSite();

function redirect(location: string, status = 302): Response {
  return new Response(null, { status, headers: { location } });
}

describe("what is asked", () => {
  test("goes to the address that was found, under its name, with nothing the gateway has", async () => {
    const { get, resolved } = site.fetcher();
    const text = await get(`http://wiki.test:${site.port}/a?b=c#d`);
    expect(text).toBe(
      `200 from http://wiki.test:${site.port}/a?b=c (text/plain;charset=utf-8, 5 bytes)\n\nhello`,
    );
    expect(resolved).toEqual(["wiki.test"]);
    expect(site.asked).toEqual([
      {
        url: `http://wiki.test:${site.port}/a?b=c`,
        method: "GET",
        headers: {
          host: `wiki.test:${site.port}`,
          accept: "text/html, text/plain, application/json;q=0.9, */*;q=0.5",
          "accept-encoding": "gzip, br",
          "user-agent": "agentbus",
          connection: "close",
        },
      },
    ]);
  });

  test("HEAD asks for what is there, and no more", async () => {
    site.handler = () =>
      new Response(null, { headers: { "content-type": "application/zip", "content-length": "7" } });
    const { get } = site.fetcher();
    const text = await get(`http://${site.open}/a.zip`, undefined, { method: "HEAD" });
    expect(text).toBe(`200 from http://${site.open}/a.zip (application/zip, 7 bytes)`);
    expect(site.asked[0]?.method).toBe("HEAD");
  });

  test("the next address is tried where the first is not there", async () => {
    const { get } = site.fetcher({ allow: ["127.0.0.0/8"], found: [["127.9.9.9", "127.0.0.1"]] });
    expect(await get(`http://wiki.test:${site.port}/`)).toContain("hello");
  });

  test("a name nobody knows, and a port nobody listens on", async () => {
    await expect(site.fetcher({ found: [[]] }).get("http://nowhere.test/")).rejects.toThrow(
      /nowhere.test is not known/,
    );
    const { get } = site.fetcher({ allow: ["127.0.0.1"] });
    await expect(get("http://127.0.0.1:1/")).rejects.toThrow(
      "127.0.0.1 cannot be reached: nothing listens there",
    );
  });
});

describe("a name that changes what it means", () => {
  test("is asked for once: what was looked at is what is connected to", async () => {
    const { get, resolved } = site.fetcher({ found: [["127.0.0.1"], ["127.6.6.6"]] });
    expect(await get(`http://rebind.test:${site.port}/`)).toContain("hello");
    expect(resolved).toHaveLength(1);
  });

  test("is looked at anew for every redirect", async () => {
    site.handler = () => redirect(`http://rebind.test:${site.port}/again`);
    const { get, resolved } = site.fetcher({ found: [["127.0.0.1"], ["10.0.0.1"]] });
    await expect(get(`http://rebind.test:${site.port}/`)).rejects.toThrow(/not on the public internet/);
    expect(resolved).toHaveLength(2);
    expect(site.asked).toHaveLength(1);
  });

  test("is refused when one of its addresses is, whichever comes first", async () => {
    for (const found of [
      ["127.0.0.1", "10.0.0.1"],
      ["10.0.0.1", "127.0.0.1"],
      ["127.0.0.1", "::ffff:10.0.0.1"],
    ]) {
      await expect(site.fetcher({ found: [found] }).get(`http://both.test:${site.port}/`)).rejects.toThrow(
        /^both\.test is not on the public internet/,
      );
    }
    expect(site.asked).toEqual([]);
  });

  test.each(["localhost", "LOCALHOST.", "ⓛocalhost", "localhost%2e", "xn--lochost-g1a.test"])(
    "%s stands for what it is resolved to",
    async (name) => {
      await expect(site.fetcher({ allow: [] }).get(`http://${name}/`)).rejects.toThrow(
        /not on the public internet/,
      );
    },
  );
});

describe("redirects", () => {
  test("are followed to where they may lead, and the model reads where it is", async () => {
    const statuses = [301, 302, 303, 307, 308];
    site.handler = ({ url }) => {
      const at = Number(new URL(url).searchParams.get("n"));
      return at < statuses.length ? redirect(`?n=${at + 1}`, statuses[at]) : new Response("the end");
    };
    expect(await site.fetcher().get(`http://${site.open}/a?n=0`)).toStartWith(
      `200 from http://${site.open}/a?n=5 `,
    );
    await expect(site.fetcher().get(`http://${site.open}/a?n=-1`)).rejects.toThrow(
      "there are more than 5 redirects",
    );
  });

  test.each([
    "http://127.0.0.1:1/",
    "http://2130706433/",
    "http://[::ffff:7f00:1]/",
    "http://169.254.169.254/latest/meta-data/",
    "//10.0.0.1/",
    "http://user:secret@example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "http://[fe80::1%25lo]/",
  ])("are not followed to %s", async (location) => {
    site.handler = () => redirect(location);
    await expect(site.fetcher().get(`http://${site.open}/`)).rejects.toThrow(
      /not on the public internet|no user and password|only http and https|no URL/,
    );
    expect(site.asked.length).toBeLessThanOrEqual(1);
  });

  test("without a place to go are an answer", async () => {
    site.handler = () => new Response("moved", { status: 302 });
    expect(await site.fetcher().get(`http://${site.open}/`)).toStartWith("302 from ");
  });
});

describe("over TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "agentbus-fetch-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  test("who answers has to prove the name that was asked for", async () => {
    const own = makeCertificate(folder, "own", { names: ["DNS:wiki.test"] });
    await using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: own.cert, key: own.key },
      fetch: () => new Response("hello"),
    });
    const { get } = site.fetcher({ allow: ["127.0.0.1"] });
    // Nobody trusts who signed it; test/hostile has one that is trusted, for the right name and for another.
    await expect(get(`https://wiki.test:${server.port}/`)).rejects.toThrow(
      /cannot be reached: .*SELF_SIGNED/,
    );
  });
});
