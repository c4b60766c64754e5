import { expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { agentbus, serve, workplace } from "../support/executable.ts";

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
