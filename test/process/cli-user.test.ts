import { expect, test } from "bun:test";
import { agentbus, serve, workplace } from "../support/executable.ts";

const HERE = ["--data-dir", "data"];

test("user list, disable, enable and delete, on the running gateway and without one", async () => {
  using place = workplace();
  const run = (...argv: string[]) => agentbus([...argv, ...HERE], { cwd: place.path });
  const stateOf = async (user: string): Promise<string | undefined> => {
    const { out } = await run("user", "list");
    return out.split("\n").find((line) => line.startsWith(`${user} `));
  };
  {
    await using running = await serve(place.path, ["--port", "0", ...HERE]);
    const { out: token } = await run("token", "create", "phone", "--user", "ada", "--role", "viewer");
    await run("token", "create", "desk", "--user", "bob");
    expect((await run("user", "list")).out).toMatch(
      /^user +state +role +tokens +devices +logins +sessions +open +last used\n/,
    );
    expect(await stateOf("ada")).toMatch(/^ada +enabled +viewer +1 +0 +0 +0 +0 +never$/);
    expect(await run("user", "disable", "ada")).toEqual({ code: 0, out: "disabled\n", err: "" });
    const env = { AGENTBUS_TOKEN: token.trim() };
    const refused = await agentbus(["call", "system.info", ...HERE], { cwd: place.path, env });
    expect(refused.code).toBe(4);
    expect(refused.err).toContain("this user is disabled");
    expect(await stateOf("ada")).toMatch(/^ada +disabled /);
    running.signal("SIGTERM");
    await running.exited;
  }
  expect(await run("user", "enable", "ada")).toEqual({ code: 0, out: "enabled\n", err: "" });
  expect(await stateOf("ada")).toMatch(/^ada +enabled /);
  for (const flags of [[], ["--delete-sessions", "--transfer-to", "bob"]]) {
    const { code, err } = await run("user", "delete", "ada", ...flags);
    expect([code, err]).toEqual([
      2,
      "agentbus: user delete: say what becomes of their sessions, with either --delete-sessions or --transfer-to USER\n",
    ]);
  }
  expect((await run("user", "delete", "ada", "--transfer-to", "bob")).out).toBe(
    "deleted; sessions given to bob: 0\n",
  );
  expect(await stateOf("ada")).toBeUndefined();
  const last = await run("user", "delete", "owner", "--delete-sessions");
  expect([last.code, last.err.split("\n").length]).toEqual([1, 2]);
  expect(last.err).toContain("owner has the token of this machine");
  const { out } = await run("audit", "--action", "user", "--json");
  const seen = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(seen.map(({ action, outcome, target }) => [action, outcome, target])).toEqual([
    ["user.disable", "ok", "ada"],
    ["user.disable", "ok", "ada"],
    ["user.delete", "ok", "ada"],
    ["user.delete", "CONFLICT", "owner"],
  ]);
});
