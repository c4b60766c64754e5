import { expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { agentbus, serve, workplace } from "../support/executable.ts";

const HERE = ["--data-dir", "data"];

test("hook create, list, update, rotate and delete, on the running gateway and without one", async () => {
  using place = workplace();
  const run = (argv: readonly string[], stdin?: string) =>
    agentbus([...argv, ...HERE], { cwd: place.path, ...(stdin !== undefined && { stdin }) });
  // Without a gateway: what it is made with counts in the one that is started later.
  const made = await run([
    "hook",
    "create",
    "ci",
    "--session",
    "builds",
    "--template",
    "{{state}} on {{branch}}",
  ]);
  expect([made.code, made.err]).toEqual([
    0,
    "This is the only time the secret is shown.\n" +
      "Have it delivered to POST /api/v1/hooks/ci, its proof in the header authorization (token).\n",
  ]);
  const given = ["hook", "create", "github", "--session", "s", "--verify", "hmac", "--secret-stdin"];
  expect(await run(given, "a-secret-of-the-sender\n")).toMatchObject({ code: 0, out: "" });
  await using running = await serve(place.path, ["--port", "0", ...HERE]);
  const body = '{"state":"red","branch":"main"}';
  const deliver = async (name: string, headers: Record<string, string>): Promise<number> => {
    const response = await fetch(`${running.url}/api/v1/hooks/${name}`, { method: "POST", body, headers });
    return response.status;
  };
  expect(await deliver("ci", { authorization: `Bearer ${made.out.trim()}` })).toBe(202);
  const mac = createHmac("sha256", "a-secret-of-the-sender").update(body).digest("hex");
  expect(await deliver("github", { "x-hub-signature-256": `sha256=${mac}` })).toBe(202);
  expect((await run(["hook", "list"])).out).toMatch(
    /^name +id +user +session +proof +state\nci +hok_\w+ +owner +builds +token in authorization +on\ngithub .*\n$/,
  );
  const rotated = await run(["hook", "rotate", "ci"]);
  expect(await deliver("ci", { authorization: `Bearer ${made.out.trim()}` })).toBe(401);
  expect(await deliver("ci", { authorization: `Bearer ${rotated.out.trim()}` })).toBe(202);
  expect((await run(["hook", "update", "ci", "--disable"])).out).toBe("changed; it is off\n");
  expect(await deliver("ci", { authorization: `Bearer ${rotated.out.trim()}` })).toBe(401);
  expect((await run(["hook", "delete", "ci"])).out).toBe("deleted\n");
  expect((await run(["hook", "delete", "ci"])).out).toBe("there was none\n");
  const wrong = await run(["hook", "create", "x", "--session", "s", "--verify", "sha"]);
  expect([wrong.code, wrong.err]).toEqual([
    2,
    'agentbus: --verify is one of token, hmac, standard, not "sha"\n',
  ]);
});
