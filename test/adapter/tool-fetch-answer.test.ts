import { describe, expect, test } from "bun:test";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { textOfPage } from "../../src/tool/html-text.ts";
import { openSite } from "./tool-fetch.fixture.ts";

const site = openSite();

describe("what is answered", () => {
  const packed: [string, (text: string) => Uint8Array][] = [
    ["gzip", gzipSync],
    ["br", brotliCompressSync],
  ];
  test.each(packed)("is unpacked from %s, up to a bound", async (encoding, pack) => {
    const answerOf = (bytes: Uint8Array): Response =>
      new Response(bytes as BodyInit, {
        headers: { "content-encoding": encoding, "content-type": "text/plain" },
      });
    const bomb = pack("0".repeat(50_000_000));
    expect(bomb.length).toBeLessThan(100_000);
    site.handler = () => answerOf(bomb);
    const before = process.memoryUsage().rss;
    const text = await site.fetcher({ fetch_bytes: 10_000 }).get(`http://${site.open}/`);
    expect(text).toContain("Only the first 10000 bytes were read.");
    expect(text.length).toBeLessThan(10_500);
    expect(process.memoryUsage().rss - before).toBeLessThan(40_000_000);
    site.handler = () => answerOf(pack("short"));
    expect(await site.fetcher().get(`http://${site.open}/`)).toEndWith("\n\nshort");
  });

  test("packed wrongly, or in a way nobody asked for, is none", async () => {
    site.handler = () => new Response("no gzip at all", { headers: { "content-encoding": "gzip" } });
    await expect(site.fetcher().get(`http://${site.open}/`)).rejects.toThrow();
    site.handler = () => new Response("x", { headers: { "content-encoding": "zstd" } });
    await expect(site.fetcher().get(`http://${site.open}/`)).rejects.toThrow(/was not asked for/);
  });

  test("of a kind that is no text is told and not read", async () => {
    site.handler = () => new Response(new Uint8Array(10), { headers: { "content-type": "image/png" } });
    expect(await site.fetcher().get(`http://${site.open}/`)).toBe(
      `200 from http://${site.open}/ (image/png, 10 bytes)\nIt is no text and is not shown.`,
    );
    site.handler = () =>
      new Response(new Uint8Array([65, 0, 66]), { headers: { "content-type": "text/plain" } });
    expect(await site.fetcher().get(`http://${site.open}/`)).toEndWith("It is no text and is not shown.");
  });

  test("an error of the site is an answer, too", async () => {
    site.handler = () => Response.json({ detail: "no such page" }, { status: 404 });
    expect(await site.fetcher().get(`http://${site.open}/`)).toMatch(
      /^404 from .*\n\n\{"detail":"no such page"\}$/,
    );
  });

  test("is read in the encoding it names", async () => {
    const answer = (type: string, bytes: Uint8Array) => () =>
      new Response(bytes as BodyInit, { headers: { "content-type": type } });
    const latin = Buffer.from("café", "latin1");
    site.handler = answer("text/plain; charset=ISO-8859-1", latin);
    expect(await site.fetcher().get(`http://${site.open}/`)).toEndWith("café");
    site.handler = answer("text/html", Buffer.concat([Buffer.from('<meta charset="iso-8859-1">'), latin]));
    expect(await site.fetcher().get(`http://${site.open}/`)).toEndWith("café");
    site.handler = answer("text/plain; charset=no-such-thing", Buffer.from("café"));
    expect(await site.fetcher().get(`http://${site.open}/`)).toEndWith("café");
  });

  test("that breaks off is a failure", async () => {
    const port = await site.raw((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf");
      setTimeout(() => socket.destroy(), 20);
    });
    await expect(site.fetcher({ allow: ["127.0.0.1"] }).get(`http://127.0.0.1:${port}/`)).rejects.toThrow();
  });

  test("that has no end of headers, or is no HTTP, is a failure", async () => {
    const endless = await site.raw((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      const pour = (): void => {
        while (socket.writable && socket.write(`X-A: ${"y".repeat(1_000)}\r\n`));
      };
      socket.on("drain", pour);
      pour();
    });
    const { get } = site.fetcher({ allow: ["127.0.0.1"] });
    await expect(get(`http://127.0.0.1:${endless}/`)).rejects.toThrow("its headers are too large");
    const other = await site.raw((socket) => socket.end("-ERR unknown command 'GET'\r\n"));
    await expect(get(`http://127.0.0.1:${other}/`)).rejects.toThrow(/cannot be reached/);
  });

  test("that does not come, or does not end, is left at once when the run ends", async () => {
    for (const speech of ["", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nword"]) {
      const [heard, left] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const port = await site.raw((socket) => {
        socket.on("close", () => left.resolve());
        socket.write(speech, () => heard.resolve());
      });
      const run = new AbortController();
      const answer = site.fetcher({ allow: ["127.0.0.1"] }).get(`http://127.0.0.1:${port}/`, run.signal);
      answer.catch(() => undefined);
      await heard.promise;
      run.abort();
      await expect(answer).rejects.toThrow();
      await left.promise;
    }
  });
});

test("a page is told as a reader sees it", async () => {
  const page = `<!doctype html><html><head><title>Tea &amp; cake</title><style>p{}</style><script>"<p>no</p>"</script></head>
    <body><h1>Tea</h1><p>Hot   water,<br>see <a href="/leaves?a=1&amp;b=2">leaves</a> or <a href="javascript:x()">not</a>.</p>
    <ul><li>one<li>two</ul><table><tr><td>a</td><td>b</td></tr></table><noscript>no</noscript><svg><text>no</text></svg>
    <pre>  if (x &lt; 1) {
    y()
  }</pre><img src=x alt="a cup"><template>no</template></body></html>`;
  site.handler = () => new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
  const text = await site.fetcher().get(`http://${site.open}/page`);
  expect(text.slice(text.indexOf("\n"))).toBe(`
Title: Tea & cake

# Tea

Hot water,
see [leaves](http://${site.open}/leaves?a=1&b=2) or not.

- one
- two

 | a | b

  if (x < 1) {
    y()
  }
 (image: a cup)`);
});

describe("a page that means harm", () => {
  const MIB = 1024 * 1024;
  const MAX_CHARS = 64 * 1024;
  const pages: [string, string][] = [
    ["nests without end", "<div>"],
    ["ends what never began, in what is nested", `${"<b>".repeat(400)}${"</i>".repeat(1_000)}`],
    ["is nothing but links", "<a href=?></a>"],
    ["never closes its links", "<a href=x>"],
    ["is one tag", "<p a=b "],
    ["is one comment", "<!--"],
    ["is all entities", "&amp;&#0;&#xd800;"],
    ["hides all of it", "<script><svg>"],
  ];
  test.each(pages)("%s: it is read in slices, and others have their turn between them", async (_, unit) => {
    const page = unit.repeat(Math.ceil(MIB / unit.length)).slice(0, MIB);
    let turns = 0;
    let going = true;
    const others = (): void => {
      turns++;
      if (going) setImmediate(others);
    };
    setImmediate(others);
    const { text } = await textOfPage(page, new URL("https://example.com/"), MAX_CHARS);
    going = false;
    expect(text.length).toBeLessThan(2 * MAX_CHARS);
    expect(turns).toBeGreaterThan(0);
  });

  test("a long one is told up to its bound", async () => {
    const page = `<title>t</title>${"<p>word</p>".repeat(50_000)}<p>the end</p>`;
    site.handler = () => new Response(page, { headers: { "content-type": "text/html" } });
    const text = await site.fetcher().get(`http://${site.open}/`);
    expect(text).toContain("Title: t");
    expect(text).not.toContain("the end");
    expect(text.length).toBeLessThan(200_000);
  });
});
