import { describe, expect, test } from "bun:test";
import { startHttp } from "./http.fixture.ts";

describe("pages", () => {
  test("the front page is the console; without scripts it says what it is, and nothing comes from elsewhere", async () => {
    await using at = await startHttp();
    const { status, body, headers } = await at.ask("GET", "/", { token: null });
    expect([status, headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    expect(headers.get("cache-control")).toBe("no-cache");
    for (const said of ["1.2.3", "agentbus chat", "/docs", `curl -N ${at.url}/api/v1/chat`])
      expect(body).toContain(said);
    expect(body).not.toMatch(/<script>|<style|(?:src|href)="(?!\/)|https:\/\//);
    const csp = headers.get("content-security-policy") ?? "";
    expect(csp).not.toContain("unsafe");
    for (const rule of ["script-src 'self';", "style-src 'self';", "require-trusted-types-for 'script'"])
      expect(csp).toContain(rule);
  });

  test("what the console is made of is kept for ever, in the encoding that is asked for", async () => {
    await using at = await startHttp();
    const { body } = await at.ask("GET", "/", { token: null });
    const linked = [...body.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, link]) => link ?? "");
    expect(linked).toHaveLength(5);
    for (const link of linked) {
      const plain = await fetch(at.url + link, { headers: { "accept-encoding": "identity" } });
      expect([link, plain.status, plain.headers.get("content-encoding")]).toEqual([link, 200, null]);
      expect(plain.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
      const text = await plain.text();
      const packed = await fetch(at.url + link, { headers: { "accept-encoding": "br;q=0, gzip;q=0.5" } });
      expect(packed.headers.get("content-encoding")).toBe("gzip");
      expect(packed.headers.get("vary")).toContain("Accept-Encoding");
      expect(await packed.text()).toBe(text);
    }
    for (const name of ["none.js", "..%2f..%2fetc%2fpasswd", "%ff"])
      expect((await at.ask("GET", `/assets/${name}`, { token: null })).status).toBe(404);
  });

  test("the front page says how a device is let in, where devices are", async () => {
    for (const challenge of [true, false]) {
      await using at = await startHttp({ challenge });
      const { body } = await at.ask("GET", "/", { token: null });
      expect(body.includes("agentbus device approve CODE")).toBe(challenge);
    }
  });

  test("the API docs come whole, from here", async () => {
    await using at = await startHttp();
    const { status, body, headers } = await at.ask("GET", "/docs", { token: null });
    expect(status).toBe(200);
    expect(headers.get("content-security-policy")).toContain("script-src 'self'; ");
    const linked = [...body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link ?? "");
    expect(linked.length).toBeGreaterThanOrEqual(5);
    for (const link of linked) {
      expect(link).toStartWith("/docs/");
      expect([link, (await at.ask("GET", link, { token: null })).status]).toEqual([link, 200]);
    }
    expect(body).not.toMatch(/<script>|<style>|https?:\/\//);
  });

  test("the OpenAPI document has every route, and every method of the registry", async () => {
    await using at = await startHttp();
    const { body } = await at.ask("GET", "/docs/json", { token: null });
    expect([body.openapi, body.info.version]).toEqual(["3.0.3", "1.2.3"]);
    for (const definition of at.context.definitions()) {
      const operation = body.paths[`/api/v1/rpc/${definition.name}`].post;
      expect([operation.summary, operation["x-scope"]]).toEqual([definition.doc, definition.scope]);
      expect(Object.keys(operation.requestBody.content["application/json"].schema.properties ?? {})).toEqual(
        Object.keys(definition.params.properties),
      );
      expect(operation.responses["200"].content["application/json"].schema).toBeDefined();
    }
    const send = body.paths["/api/v1/sessions/{id}/messages"].post;
    expect(Object.keys(send.responses)).toEqual(["202", "default"]);
    expect(send.requestBody.content["application/json"].schema.properties.session_id).toBeUndefined();
    expect(send.parameters.map((each: { in: string; name: string }) => `${each.in} ${each.name}`)).toEqual([
      "path id",
      "header Idempotency-Key",
    ]);
    expect(
      body.paths["/api/v1/sessions"].get.parameters.map((each: { name: string }) => each.name),
    ).toContain("limit");
    for (const path of [
      "/health",
      "/api/v1/sessions/{id}/events",
      "/api/v1/chat",
      "/api/v1/stream/{session_id}",
    ]) {
      expect(body.paths[path]).toBeDefined();
    }
    expect(Object.keys(body.paths).filter((path) => path.startsWith("/docs") || path === "/page")).toEqual(
      [],
    );
    // JSON Schema's own words that OpenAPI 3.0 does not have.
    expect(JSON.stringify(body)).not.toMatch(/"(const|patternProperties)":/);
  });
});
