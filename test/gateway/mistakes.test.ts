import { describe, expect, test } from "bun:test";
import type { ConfigTable } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";

describe("a mistake in the configuration is one line that says what to set", () => {
  const mistakes: [string, ConfigTable, string][] = [
    ["an origin", { server: { allowed_origins: ["*"] } }, "server.allowed_origins"],
    ["a public address", { server: { public_url: "x" } }, "server.public_url"],
    ["a proxy", { server: { trusted_proxies: ["x"] } }, "server.trusted_proxies"],
    ["an API", { llm: { providers: { a: { base_url: "ftp://x" } } } }, "llm.providers.a.base_url"],
    ["a fallback", { llm: { fallback: ["nope/x"] } }, "llm.fallback"],
    ["a provider", { llm: { default_provider: "nope" } }, "llm.default_provider"],
    ["a limit", { limits: { message_bytes: 10_000_000 } }, "message_bytes"],
  ];
  // An address may be this machine's a moment later: whoever starts services tries again.
  const later: typeof mistakes = [
    ["a host", { server: { host: "192.0.2.1", trusted_proxies: ["127.0.0.1"] } }, "server.host"],
  ];
  for (const [what, config, option] of [...mistakes, ...later]) {
    const code = later.some(([each]) => each === what) ? 1 : 2;
    test(what, async () => {
      const { message } = await startGateway({ config }).then(
        () => new Error("it started"),
        (error: Error) => error,
      );
      const [end, ...said] = message.split("\n");
      expect(end).toBe(`the gateway ended with ${code} before it listened`);
      expect(said).toHaveLength(1);
      expect(said[0]).toContain(option);
      expect(said[0]).not.toContain("unexpected");
    });
  }
});
