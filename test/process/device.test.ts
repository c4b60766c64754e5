import { describe, expect, test } from "bun:test";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { renderUnicodeCompact } from "uqr";
import type { ResultFor } from "../../src/client/methods.ts";
import type { Machine, Running } from "./device.fixture.ts";
import { gatewayMachine, machine, serveOn } from "./device.fixture.ts";

const LONG_MS = 60_000;
const LINE = /^agentbus: [^\n]+\n$/;

type Devices = ResultFor<"device.list">;
type Device = Devices["devices"][number];
interface Step {
  readonly state: "waiting" | "paired";
  readonly code: string;
  readonly device_id: string;
  readonly user: string;
  readonly scopes: string[];
  readonly file: string;
}

/** A step of `device pair --json`. */
async function step(pairing: Running, index: number): Promise<Step> {
  return JSON.parse(await pairing.line(index)) as Step;
}

/** Lets a machine in by its code. */
async function pair(laptop: Machine, home: Machine, url: string, ...grant: string[]): Promise<Step> {
  await using pairing = laptop.start("device", "pair", "--json", "--url", url);
  const { code } = await step(pairing, 0);
  await home.json("device", "approve", code, "--json", ...grant);
  expect(await pairing.ended()).toMatchObject({ code: 0, err: "" });
  return await step(pairing, 1);
}

describe("pairing a machine", () => {
  test(
    "a code, an approval, and it needs no token; revoked, it is told so",
    async () => {
      using home = gatewayMachine();
      using laptop = machine();
      await using gateway = await serveOn(home);
      const at = ["--url", gateway.url];
      await using pairing = laptop.start("device", "pair", "--json", "--name", "Ada's laptop", ...at);
      const { state, code } = await step(pairing, 0);
      expect([state, /^\w{4}-\w{4}$/.test(code)]).toEqual(["waiting", true]);
      const asked = await home.json<Devices>("device", "list", "--json");
      expect(asked.devices).toEqual([]);
      expect(asked.pairing_requests).toMatchObject([{ code, client_name: "Ada's laptop", platform: "cli" }]);
      const shown = await home.run("device", "list");
      expect(shown.out).toContain(code);

      const approved = await home.run("device", "approve", code.toLowerCase(), "--role", "operator");
      expect(approved).toMatchObject({ code: 0, err: "" });
      expect(approved.out).toStartWith("approved: Ada's laptop, user owner, ");
      expect(await pairing.ended()).toMatchObject({ code: 0, err: "" });
      const paired = await step(pairing, 1);
      const { devices, pairing_requests } = await home.json<Devices>("device", "list", "--json");
      expect(pairing_requests).toEqual([]);
      expect(devices).toMatchObject([{ device_id: paired.device_id, name: "Ada's laptop", user: "owner" }]);
      expect(paired.scopes.toSorted()).toEqual(devices[0]?.scopes.toSorted() ?? []);

      expect(statSync(paired.file).mode & 0o777).toBe(0o600);
      expect(paired.file).toStartWith(join(laptop.path, ".config"));
      expect(readdirSync(join(home.path, "data")).filter((name) => name.includes("device"))).toEqual([]);
      const { d } = JSON.parse(readFileSync(paired.file, "utf8")) as { d: string };
      for (const text of [gateway.lines.join("\n"), pairing.lines.join("\n")]) expect(text).not.toContain(d);

      expect(await laptop.run("chat", "/long 3", "--session", "s", ...at)).toMatchObject({
        code: 0,
        out: "1 2 3\n",
      });
      expect((await laptop.run("status", ...at)).code).toBe(0);
      expect((await laptop.run("call", "chat.history", '{"session_id":"s"}', ...at)).out).toContain("1 2 3");
      expect((await laptop.run("device", "list", ...at)).out).toContain(paired.device_id);
      await using watching = laptop.start("watch", "s", ...at);
      expect(JSON.parse(await watching.line(0))).toMatchObject({ event: "session.snapshot" });

      expect((await home.run("device", "revoke", paired.device_id)).out).toBe("revoked\n");
      const ended = await watching.ended();
      expect([ended.code, ended.err]).toEqual([4, expect.stringMatching(LINE)]);
      const refused = await laptop.run("chat", "hello", ...at);
      expect([refused.code, refused.out]).toEqual([4, ""]);
      expect(refused.err).toMatch(LINE);
      expect(refused.err).toContain(`agentbus device pair --url ${gateway.url}`);
      const slip = await home.run("device", "revoke", paired.device_id);
      expect([slip.code, slip.out, slip.err]).toEqual([1, "", expect.stringMatching(LINE)]);
    },
    LONG_MS,
  );

  test(
    "approved over REST; once paired it says so and asks nobody",
    async () => {
      using home = gatewayMachine();
      using laptop = machine();
      await using gateway = await serveOn(home);
      await using pairing = laptop.start("device", "pair", "--url", gateway.url);
      const code = /code {2}(\S+)/.exec((await pairing.line(2)) ?? "")?.[1];
      const token = readFileSync(join(home.path, "data", "token"), "utf8").trim();
      const approve = await fetch(`${gateway.url}/api/v1/rpc/device.approve`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ code, user: "ada", scopes: ["chat.read", "chat.write"], name: "lap" }),
      });
      expect(await approve.json()).toMatchObject({
        name: "lap",
        user: "ada",
        scopes: ["chat.read", "chat.write"],
      });
      const { code: exit, out } = await pairing.ended();
      expect(exit).toBe(0);
      expect(out).toContain("paired: device ");
      expect(out).toContain("user    ada\n  scopes  chat.read chat.write\n");
      expect(out).not.toMatch(/[█▀▄]/);
      const again = await laptop.run("device", "pair", "--url", gateway.url);
      expect([again.code, again.out]).toEqual([0, expect.stringContaining("this machine is paired already")]);
      expect((await home.json<Devices>("device", "list", "--json")).devices.length).toBe(1);
    },
    LONG_MS,
  );

  test(
    "in a terminal shows a QR code of the gateway's address with the code",
    async () => {
      using home = gatewayMachine();
      using laptop = machine();
      await using gateway = await serveOn(home);
      await using pairing = laptop.typed("device", "pair", "--url", gateway.url);
      await pairing.until("the code", (shown) => shown.includes("waiting; Ctrl-C leaves"));
      const code = /code {2}(\S+)/.exec(pairing.shown)?.[1] ?? "";
      const qr = renderUnicodeCompact(`${gateway.url}/#pair=${code}`, { border: 2 });
      expect(pairing.shown).toContain(qr);
      expect((await home.run("device", "approve", code)).code).toBe(0);
      expect(await pairing.exited).toBe(0);
      await pairing.until("that it is paired", (shown) => shown.includes("paired: device "));
    },
    LONG_MS,
  );

  test(
    "refused: one line, exit 4, and so it stays for a while",
    async () => {
      using home = gatewayMachine();
      using laptop = machine();
      await using gateway = await serveOn(home);
      await using pairing = laptop.start("device", "pair", "--json", "--url", gateway.url);
      const { code } = await step(pairing, 0);
      expect(await home.run("device", "reject", code)).toMatchObject({ code: 0, out: "rejected\n" });
      const { code: exit, err } = await pairing.ended();
      expect([exit, err]).toEqual([4, expect.stringMatching(LINE)]);
      expect(err).toContain("refused");
      expect((await laptop.run("device", "pair", "--url", gateway.url)).code).toBe(4);
      const late = await home.run("device", "approve", code);
      expect([late.code, late.err]).toEqual([1, expect.stringMatching(LINE)]);
    },
    LONG_MS,
  );

  test(
    "nobody answers: exit 1; the next try has another code",
    async () => {
      using home = gatewayMachine("[limits]\npairing_ttl_secs = 2\n");
      using laptop = machine();
      await using gateway = await serveOn(home);
      await using first = laptop.start("device", "pair", "--json", "--url", gateway.url);
      const { code } = await step(first, 0);
      const { code: exit, err } = await first.ended();
      expect([exit, err]).toEqual([1, expect.stringMatching(LINE)]);
      await using second = laptop.start("device", "pair", "--json", "--url", gateway.url);
      expect((await step(second, 0)).code).not.toBe(code);
    },
    LONG_MS,
  );

  test(
    "the gateway is killed and started again meanwhile: the new code is told, and approved",
    async () => {
      using home = gatewayMachine();
      using laptop = machine();
      const first = await serveOn(home);
      await using pairing = laptop.start("device", "pair", "--json", "--url", first.url);
      const before = await step(pairing, 0);
      first.signal("SIGKILL");
      await first.exited;
      await using second = await serveOn(home, first.port);
      const after = await step(pairing, 1);
      expect([after.state, after.code === before.code]).toEqual(["waiting", false]);
      await home.json("device", "approve", after.code, "--json");
      expect(await pairing.ended()).toMatchObject({ code: 0 });
      expect(await laptop.run("chat", "/long 2", "--url", second.url)).toMatchObject({
        code: 0,
        out: "1 2\n",
      });
    },
    LONG_MS,
  );
});

describe("what a device is granted", () => {
  test(
    "is what it asks for, where the role user has it; more has to be said",
    async () => {
      using home = gatewayMachine();
      using reader = machine();
      using greedy = machine();
      await using gateway = await serveOn(home);
      const at = ["--url", gateway.url];
      await using one = reader.start("device", "pair", "--json", "--scopes", "chat.read", ...at);
      const granted = await home.json<Device>("device", "approve", (await step(one, 0)).code, "--json");
      expect(granted.scopes).toEqual(["chat.read"]);
      expect((await one.ended()).code).toBe(0);
      const refused = await reader.run("chat", "hello", ...at);
      expect([refused.code, refused.err]).toEqual([4, expect.stringMatching(LINE)]);

      await using other = greedy.start("device", "pair", "--json", "--scopes", "chat.read,admin", ...at);
      const { code } = await step(other, 0);
      const careful = await home.run("device", "approve", code);
      expect([careful.code, careful.out]).toEqual([1, ""]);
      expect(careful.err).toContain("the device asks for admin,chat.read: grant that with --scopes");
      const { scopes } = await home.json<Device>("device", "approve", code, "--role", "viewer", "--json");
      expect(scopes).toEqual(["chat.read"]);
    },
    LONG_MS,
  );

  test(
    "a key that was registered beforehand needs no pairing; a token comes before it",
    async () => {
      using home = gatewayMachine();
      using laptop = machine();
      await using gateway = await serveOn(home);
      const at = ["--url", gateway.url];
      const key = (await laptop.run("device", "key", ...at)).out.trim();
      const bare = await home.run("device", "register", key);
      expect([bare.code, bare.err]).toEqual([2, expect.stringContaining("--user")]);
      const grant = ["--user", "ada", "--role", "user", "--name", "lap", "--id", "ada-lap"];
      const registered = await home.json<Device>("device", "register", key, ...grant, "--json");
      expect(registered).toMatchObject({ device_id: "ada-lap", name: "lap", user: "ada" });
      expect(await laptop.run("chat", "/long 2", ...at)).toMatchObject({ code: 0, out: "1 2\n" });
      const renamed = await home.run("device", "rename", "ada-lap", "old lap");
      expect(renamed.out).toStartWith("renamed: old lap, user ada");
      using stray = machine(undefined, { AGENTBUS_TOKEN: "agb_of_somewhere_else", HOME: laptop.path });
      const refused = await stray.run("chat", "/long 2", ...at);
      expect([refused.code, refused.err]).toEqual([4, expect.stringMatching(LINE)]);
    },
    LONG_MS,
  );

  test(
    "can be looked at and taken back while no gateway runs; approving needs one",
    async () => {
      using home = gatewayMachine();
      using laptop = machine();
      const first = await serveOn(home);
      const { device_id } = await pair(laptop, home, first.url);
      first.signal("SIGTERM");
      expect(await first.exited).toBe(0);
      const { devices } = await home.json<Devices>("device", "list", "--json");
      expect(devices).toMatchObject([{ device_id }]);
      expect((await home.run("device", "approve", "AAAA-AAAA")).code).toBe(3);
      expect((await home.run("device", "revoke", device_id)).out).toBe("revoked\n");
      await using second = await serveOn(home, first.port);
      expect((await laptop.run("chat", "hello", "--url", second.url)).code).toBe(4);
    },
    LONG_MS,
  );
});

describe("a gateway that cannot be paired with", () => {
  test("is not there: exit 3", async () => {
    using laptop = machine();
    const { code, err } = await laptop.run("device", "pair", "--url", "http://127.0.0.1:1");
    expect([code, err]).toEqual([3, expect.stringMatching(LINE)]);
  });

  test("takes no devices: exit 4, and it says how it could", async () => {
    using home = machine('[server]\nport = 0\ndata_dir = "data"\n');
    using laptop = machine();
    await using gateway = await serveOn(home);
    const { code, err } = await laptop.run("device", "pair", "--url", gateway.url);
    expect([code, err]).toEqual([4, expect.stringMatching(LINE)]);
    expect(err).toContain("auth.mode");
    const bare = await laptop.run("chat", "hello", "--url", gateway.url);
    expect(bare.code).toBe(4);
  }, 30_000);
});
