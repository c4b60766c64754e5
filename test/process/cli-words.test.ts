import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OPENING_FILE } from "../../src/opening.ts";
import { AGENTBUS, agentbus, plainEnvironment, serve, workplace } from "../support/executable.ts";

const DATA = ["--data-dir", "data"];

test("a shell completes what was begun", async () => {
  using place = workplace();
  const script = (await agentbus(["completions", "bash"], { cwd: place.path })).out;
  const lines = [
    script,
    "COMP_WORDS=(agentbus_under_test token cr)",
    "COMP_CWORD=2",
    "_agentbus",
    'printf "%s\\n" "${COMPREPLY[@]}"',
  ];
  const program = place.file("agentbus_under_test", `#!/bin/sh\nexec ${AGENTBUS.join(" ")} "$@"\n`);
  Bun.spawnSync(["chmod", "+x", program]);
  const env = plainEnvironment();
  const shell = Bun.spawnSync(["bash", "-c", lines.join("\n")], {
    env: { ...env, PATH: `${place.path}:${env["PATH"] ?? ""}` },
  });
  expect([shell.stdout.toString(), shell.stderr.toString()]).toEqual(["create\n", ""]);
});

test("call takes params one by one, and a slip in a method's name is told", async () => {
  using place = workplace();
  await using _running = await serve(place.path, ["--port", "0", ...DATA]);
  const call = (...argv: string[]) => agentbus(["call", ...argv, ...DATA], { cwd: place.path });
  const made = await call("session.create", "session_id=work", "title=A talk=1", 'metadata={"a":[1]}');
  expect(JSON.parse(made.out)).toMatchObject({ session_id: "work", title: "A talk=1", metadata: { a: [1] } });
  const listed = await call("session.list", "limit=1");
  expect(JSON.parse(listed.out)).toMatchObject({ sessions: [{ session_id: "work" }] });
  const slip = await call("sesion.list");
  expect([slip.code, slip.err]).toEqual([1, expect.stringContaining("did you mean session.list?")]);
  const mixed = await call("session.list", "{}", "limit=1");
  expect([mixed.code, mixed.err]).toEqual([2, expect.stringContaining("NAME=VALUE")]);
});

test("alive is one that has all the connections there may be, and one that opens its database", async () => {
  using place = workplace();
  const alive = (data_dir: string) =>
    agentbus(["status", "--alive", "--data-dir", data_dir, "--port", "1"], { cwd: place.path });
  await using running = await serve(place.path, ["--port", "0", ...DATA], {
    AGENTBUS_GATEWAY_MAX_CONNECTIONS: "1",
  });
  const only = new WebSocket(`${running.url.replace("http", "ws")}/ws`);
  await new Promise((resolve) => (only.onopen = resolve));
  expect(await alive("data")).toEqual({ code: 0, out: `${running.url} answers\n`, err: "" });
  only.close();
  const nobody = await alive("other");
  expect([nobody.code, nobody.err]).toEqual([3, expect.stringContaining("no gateway answers at")]);
  mkdirSync(join(place.path, "other"));
  const { pid } = process;
  const opening = { pid, doing: "copying the database" };
  writeFileSync(join(place.path, "other", OPENING_FILE), JSON.stringify(opening));
  const opens = `process ${pid} is copying the database\n`;
  expect(await alive("other")).toEqual({ code: 0, out: opens, err: "" });
});
