import { Database } from "bun:sqlite";
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { agentbus, serve, workplace } from "../support/executable.ts";
import { canShim, compileFsyncShim } from "../support/fsync-shim.ts";

setDefaultTimeout(60_000);

test("a gateway does not start on a damaged database, says what to do, and does after that", async () => {
  using place = workplace();
  const { path } = place;
  const data = ["--data-dir", "data"];
  const call = (method: string, params: object = {}) =>
    agentbus(["call", method, JSON.stringify(params), ...data], { cwd: path });
  {
    const running = await serve(path, ["--port", "0", ...data]);
    await call("session.create", { session_id: "kept" });
    for (let i = 0; i < 3; i++)
      await call("chat.inject", { session_id: "kept", role: "user", content: "words ".repeat(5_000) });
    running.signal("SIGTERM");
    await running.exited;
  }
  const file = join(path, "data/agentbus.db");
  truncateSync(file, statSync(file).size - 4_096);
  const refused = await agentbus(["serve", "--port", "0", ...data], { cwd: path });
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("agentbus repair")]);
  const unsure = await agentbus(["repair", ...data], { cwd: path });
  expect([unsure.code, unsure.err]).toEqual([2, expect.stringContaining("--yes")]);
  const repaired = await agentbus(["repair", "--yes", "--json", ...data], { cwd: path });
  expect(repaired).toMatchObject({ code: 0, err: "" });
  const { kept } = JSON.parse(repaired.out) as { kept: string };
  expect(readdirSync(join(path, "data"))).toContain(kept.slice(kept.lastIndexOf("/") + 1));
  await using _again = await serve(path, ["--port", "0", ...data]);
  const { out } = await call("session.list");
  expect(JSON.parse(out)).toMatchObject({ sessions: [{ session_id: "kept" }] });
});

test.if(canShim())(
  "on a file system without hard links all of it works, and what was there is kept",
  async () => {
    using place = workplace();
    const { path } = place;
    mkdirSync(join(path, "shim"));
    const shim = compileFsyncShim(join(path, "shim"), path);
    shim.failLinks();
    const run = async (...argv: string[]): Promise<string> => {
      const { code, out, err } = await agentbus([...argv, "--data-dir", "data"], {
        cwd: path,
        env: shim.env,
      });
      expect([argv[0], code, err]).toEqual([argv[0], 0, argv[0] === "hook" ? expect.any(String) : ""]);
      return out;
    };
    const created = (session_id: string) => run("call", "session.create", JSON.stringify({ session_id }));
    {
      const running = await serve(path, ["--port", "0", "--data-dir", "data"], shim.env);
      await created("first");
      await run("backup", "copy.db");
      await created("second");
      running.signal("SIGTERM");
      await running.exited;
    }
    const key = () =>
      agentbus(["device", "key", "--url", "http://127.0.0.1:1"], {
        cwd: path,
        env: { ...shim.env, HOME: path, XDG_CONFIG_HOME: join(path, "config") },
      });
    const made = await key();
    expect(made).toMatchObject({ code: 0, err: "" });
    expect(await key()).toEqual(made);
    // Makes the key that secrets are sealed with.
    await run("hook", "create", "builds", "--session", "builds", "--template", "{{$body}}");
    expect(statSync(join(path, "data/secrets.key")).mode & 0o777).toBe(0o600);
    const { kept } = JSON.parse(await run("repair", "--yes", "--json")) as { kept: string };
    expect(await run("hook", "list")).toContain("builds");
    const restored = JSON.parse(await run("restore", "copy.db", "--yes", "--json")) as { kept: string };
    for (const name of [kept, restored.kept]) {
      const old = new Database(name, { readonly: true });
      expect(old.query("SELECT COUNT(*) AS n FROM sessions").get()).toEqual({ n: 2 });
      old.close(true);
      expect(statSync(name).mode & 0o777).toBe(0o600);
    }
    const names = readdirSync(join(path, "data"));
    expect(names.filter((name) => /part|restoring|repairing|secrets\.key\./.test(name))).toEqual([]);
  },
);
