import { expect, test } from "bun:test";
import { checkProviders } from "../../src/cli/doctor-provider.ts";
import { checkToolServers } from "../../src/cli/doctor-tools.ts";
import { showConfig } from "../../src/config/print.ts";
import { load } from "./config.fixture.ts";

const SECRET = /of-the-address/;

test("what is secret in an address is shown neither by the doctor nor with the configuration", async () => {
  const address = "http://ann:of-the-address@127.0.0.1:1/v1?key=of-the-address&q=of-the-address-2#part";
  const toml = `[llm.providers.box]\nbase_url = "${address}"\n[mcp.servers.shop]\nurl = "${address.replace(/\/\/.*@/, "//")}"`;
  const { config, sources, cwd } = load({ toml });
  const { findings } = await checkProviders(config.llm);
  const told = [...findings, ...(await checkToolServers(config, cwd))].map(({ finding }) => finding);
  expect(told.join("\n")).toContain("http://***@127.0.0.1:1/v1?key=***&q=***");
  expect(told.join("\n")).not.toMatch(SECRET);
  expect(showConfig(config, sources)).not.toMatch(SECRET);
});

test("the doctor does not take a provider's key to where the provider redirects it", async () => {
  const seen: string[] = [];
  using other = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => {
      seen.push(request.headers.get("x-key") ?? "");
      return new Response("{}");
    },
  });
  using box = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => Response.redirect(`http://127.0.0.1:${other.port}/`, 307),
  });
  const toml = `[llm.providers.box]\nbase_url = "http://127.0.0.1:${box.port}/v1"\nheaders = { x-key = "k" }`;
  const { findings } = await checkProviders(load({ toml }).config.llm);
  expect(findings[0]?.finding).toContain("redirect");
  expect(seen).toEqual([]);
});
