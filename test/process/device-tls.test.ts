import { expect, test } from "bun:test";
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ResultFor } from "../../src/client/methods.ts";
import { gatewayMachine, machine, serveOn } from "./device.fixture.ts";

const LONG_MS = 60_000;
const LINE = /^agentbus: [^\n]+\n$/;
const TLS = 'tls = { mode = "auto" }\n';

test(
  "a machine that was told the fingerprint once knows the gateway from then on, and nobody in its place",
  async () => {
    using home = gatewayMachine("", TLS);
    using stranger = gatewayMachine("", TLS);
    using laptop = machine();
    const first = await serveOn(home);
    expect(first.url).toStartWith("https://");
    const at = ["--url", first.url];
    const blind = await laptop.run("device", "pair", ...at);
    expect([blind.code, blind.err]).toEqual([3, expect.stringMatching(LINE)]);
    expect(blind.err).toContain("--fingerprint");

    const fingerprint = /SHA-256 (\S+),/.exec((await home.run("status")).out)?.[1] ?? "";
    await using pairing = laptop.start("device", "pair", "--json", ...at, "--fingerprint", fingerprint);
    const { code } = JSON.parse(await pairing.line(0)) as { code: string };
    await home.json("device", "approve", code, "--json");
    expect(await pairing.ended()).toMatchObject({ code: 0, err: "" });
    const { file } = JSON.parse(await pairing.line(1)) as { file: string };
    expect(statSync(file.replace(/\.json$/, ".tls.json")).mode & 0o777).toBe(0o600);
    expect(await laptop.run("chat", "/long 2", ...at)).toMatchObject({ code: 0, out: "1 2\n" });
    // A configuration of its own for that address makes it no gateway of its own while none of them runs.
    const config = join(laptop.path, "agentbus.toml");
    await Bun.write(config, `[server]\nport = ${new URL(first.url).port}\n${TLS}`);
    expect(await laptop.run("chat", "/long 2", ...at)).toMatchObject({ code: 0, out: "1 2\n" });
    rmSync(config);

    first.signal("SIGKILL");
    await first.exited;
    await using second = await serveOn(stranger, first.port);
    const refused = await laptop.run("chat", "hello", ...at);
    expect([refused.code, refused.out, refused.err]).toEqual([3, "", expect.stringMatching(LINE)]);
    const seen = await stranger.json<ResultFor<"device.list">>("device", "list", "--json");
    expect([seen, second.url]).toEqual([{ devices: [], pairing_requests: [] }, first.url]);
  },
  LONG_MS,
);
