import { expect, setDefaultTimeout, test } from "bun:test";
import { Database } from "bun:sqlite";
import { copyFileSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { agentbus, serve, workplace } from "../support/executable.ts";

setDefaultTimeout(60_000);

async function call<T>(cwd: string, data: string, method: string, params: object = {}): Promise<T> {
  const asked = ["call", method, JSON.stringify(params), "--data-dir", data];
  const { code, out, err } = await agentbus(asked, { cwd });
  if (code !== 0) throw new Error(`${method} ended with ${code}: ${err}`);
  return JSON.parse(out) as T;
}

interface History {
  readonly epoch: string;
  readonly head: number;
  readonly messages: { readonly content: string; readonly status: string }[];
}

test("made while an answer is written, restored elsewhere: the same sessions, and no cursor counts any more", async () => {
  using place = workplace();
  const { path } = place;
  await using _running = await serve(path, ["--port", "0", "--data-dir", "data"]);
  const sent = (session_id: string, message: string) =>
    call<{ run_id: string }>(path, "data", "chat.send", { session_id, message });
  const { run_id } = await sent("done", "/long 20");
  await call(path, "data", "run.wait", { run_id });
  await sent("open", "/long 9000");
  const before = await call<History>(path, "data", "chat.history", { session_id: "done" });

  const made = await agentbus(["backup", "copy.db", "--json", "--data-dir", "data"], { cwd: path });
  expect(made).toMatchObject({ code: 0, err: "" });
  expect(JSON.parse(made.out)).toMatchObject({ file: join(path, "copy.db"), sessions: 2, removed: [] });
  expect(statSync(join(path, "copy.db")).mode & 0o777).toBe(0o600);
  await sent("after", "/long 3");

  const done = await agentbus(["restore", "copy.db", "--yes", "--data-dir", "other"], { cwd: path });
  expect(done).toMatchObject({ code: 0, err: "" });
  await using other = await serve(path, ["--port", "0", "--data-dir", "other"]);
  // It was made while a gateway ran, which is no crash.
  expect(other.lines.join("")).not.toContain("did not stop cleanly");
  const after = await call<History>(path, "other", "chat.history", { session_id: "done" });
  expect(after.messages).toEqual(before.messages);
  expect(after.epoch).not.toBe(before.epoch);
  const open = await call<History>(path, "other", "chat.history", { session_id: "open" });
  expect(open.messages.at(-1)?.status).toBe("partial");
  const { sessions } = await call<{ sessions: { session_id: string }[] }>(path, "other", "session.list");
  expect(sessions.map(({ session_id }) => session_id).toSorted()).toEqual(["done", "open"]);
  const again = await call<{ run_id: string }>(path, "other", "chat.send", {
    session_id: "done",
    message: "/long 2",
  });
  const run = await call<{ status: string }>(path, "other", "run.wait", { run_id: again.run_id });
  expect(run.status).toBe("completed");
});

test("over what was there, which is kept; a gateway that runs is not touched", async () => {
  using place = workplace();
  const { path } = place;
  const data = ["--data-dir", "data"];
  const running = await serve(path, ["--port", "0", ...data]);
  await call(path, "data", "session.create", { session_id: "first" });
  mkdirSync(join(path, "backups"));
  await agentbus(["backup", "backups", ...data], { cwd: path });
  await call(path, "data", "session.create", { session_id: "second" });
  const [name = ""] = readdirSync(join(path, "backups"));
  const refused = await agentbus(["restore", `backups/${name}`, "--yes", ...data], { cwd: path });
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("in use by another agentbus")]);
  running.signal("SIGKILL");
  await running.exited;

  const unsure = await agentbus(["restore", `backups/${name}`, ...data], { cwd: path });
  expect([unsure.code, unsure.err]).toEqual([2, expect.stringContaining("--yes")]);
  const done = await agentbus(["restore", `backups/${name}`, "--yes", "--json", ...data], { cwd: path });
  const { kept } = JSON.parse(done.out) as { kept: string };
  const old = new Database(kept, { readonly: true });
  expect(old.query("SELECT COUNT(*) AS n FROM sessions").get()).toEqual({ n: 2 });
  old.close(true);
  await using _again = await serve(path, ["--port", "0", ...data]);
  const { sessions } = await call<{ sessions: object[] }>(path, "data", "session.list");
  expect(sessions).toHaveLength(1);
});

test("a database whose gateway was killed is restored with what its log holds", async () => {
  using place = workplace();
  const { path } = place;
  const running = await serve(path, ["--port", "0", "--data-dir", "data"]);
  await call(path, "data", "session.create", { session_id: "first" });
  running.signal("SIGKILL");
  await running.exited;
  expect(statSync(join(path, "data/agentbus.db-wal")).size).toBeGreaterThan(0);
  const restored = await agentbus(["restore", "data/agentbus.db", "--yes", "--data-dir", "other"], {
    cwd: path,
  });
  expect(restored.code).toBe(0);
  await using _other = await serve(path, ["--port", "0", "--data-dir", "other"]);
  const { sessions } = await call<{ sessions: object[] }>(path, "other", "session.list");
  expect(sessions).toHaveLength(1);
});

test("elsewhere it is said what goes on there, and whose secrets do not open; without automation nothing goes on", async () => {
  using place = workplace();
  const { path } = place;
  const run = (data: string, ...argv: string[]) => agentbus([...argv, "--data-dir", data], { cwd: path });
  const hook = ["builds", "--session", "builds", "--template", "{{$body}}"];
  const { out: secret } = await run("data", "hook", "create", ...hook);
  await run("data", "webhook", "create", "https://example.com/", "run.completed", "--name", "there");
  await run("data", "schedule", "create", "* * * * *", "tick", "--name", "minutely");
  await run("data", "backup", "copy.db");

  const warned = await run("other", "restore", "copy.db", "--yes", "--json");
  expect([warned.code, warned.err.split("\n")]).toEqual([
    0,
    [
      expect.stringContaining("1 schedule, 1 webhook will go on here"),
      expect.stringMatching(/those of 1 hook, 1 webhook cannot be opened.*copy secrets\.key .*hook rotate/),
      "",
    ],
  ]);
  expect(JSON.parse(warned.out)).toMatchObject({
    active: { hooks: 1, schedules: 1, webhooks: 1 },
    turned_off: false,
    locked: { hooks: 1, webhooks: 1 },
  });
  // It made no key of its own that would be in the way.
  expect(readdirSync(join(path, "other"))).not.toContain("secrets.key");

  copyFileSync(join(path, "data/secrets.key"), join(path, "other/secrets.key"));
  const quiet = await run("other", "restore", "copy.db", "--yes", "--without-automation");
  expect([quiet.code, quiet.err]).toEqual([0, ""]);
  expect(quiet.out).toContain("turned off: 1 hook, 1 schedule, 1 webhook; agentbus schedule,");
  await using other = await serve(path, ["--port", "0", "--data-dir", "other"]);
  const post = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${secret.trim()}`, "idempotency-key": "once" };
    return (await fetch(`${other.url}/api/v1/hooks/builds`, { method: "POST", headers, body: "{}" })).status;
  };
  expect(await post()).toBe(401);
  const listed = await call<{ schedules: object[] }>(path, "other", "schedule.list");
  expect(listed.schedules).toEqual([expect.not.objectContaining({ next_at: expect.anything() })]);
  expect(listed.schedules).toMatchObject([{ name: "minutely", enabled: false }]);
  expect(await call(path, "other", "webhook.list")).toMatchObject({ webhooks: [{ enabled: false }] });
  // What is turned on again is what it was.
  await run("other", "hook", "update", "builds", "--enable");
  expect(await post()).toBe(202);
  expect((await run("other", "schedule", "update", "minutely", "--enable")).out).toContain("next at");
});

test("only the newest of a directory are kept, and nothing else in it is touched", async () => {
  using place = workplace();
  const { path } = place;
  await using _running = await serve(path, ["--port", "0", "--data-dir", "data"]);
  mkdirSync(join(path, "backups"));
  writeFileSync(join(path, "backups", "mine.db"), "mine");
  for (let i = 0; i < 3; i++)
    expect(
      (await agentbus(["backup", "backups", "--keep", "2", "--data-dir", "data"], { cwd: path })).code,
    ).toBe(0);
  const names = readdirSync(join(path, "backups"));
  expect(names.filter((name) => name !== "mine.db")).toHaveLength(2);
  expect(names).toContain("mine.db");
});

test("what is no backup, is damaged, is newer, or is there already is refused, and changes nothing", async () => {
  using place = workplace();
  const { path } = place;
  const data = ["--data-dir", "data"];
  const refusal = async (...argv: string[]): Promise<string> => {
    const { code, err } = await agentbus([...argv, ...data], { cwd: path });
    expect(code).toBe(1);
    return err;
  };
  expect(await refusal("backup", "copy.db")).toContain("there is nothing to back up");
  {
    await using _running = await serve(path, ["--port", "0", ...data]);
    await call(path, "data", "session.create", { session_id: "kept" });
    await agentbus(["backup", "copy.db", ...data], { cwd: path });
    expect(await refusal("backup", "copy.db")).toContain("exists already");
  }
  expect(await refusal("restore", "none.db", "--yes")).toContain("does not exist");
  writeFileSync(join(path, "text.db"), "no database");
  expect(await refusal("restore", "text.db", "--yes")).toContain("cannot be read as a backup");
  new Database(join(path, "other.db"), { create: true }).run("CREATE TABLE a (b)");
  expect(await refusal("restore", "other.db", "--yes")).toContain("is no backup of agentbus");
  const bytes = new Uint8Array(await Bun.file(join(path, "copy.db")).arrayBuffer());
  await Bun.write(join(path, "cut.db"), bytes.slice(0, bytes.length - 8_192));
  expect(await refusal("restore", "cut.db", "--yes")).toMatch(/damaged|cannot be read/);
  await Bun.write(join(path, "newer.db"), bytes);
  const newer = new Database(join(path, "newer.db"));
  newer.run("PRAGMA user_version = 9999");
  newer.close(true);
  expect(await refusal("restore", "newer.db", "--yes")).toContain("newer agentbus");
  await using _again = await serve(path, ["--port", "0", ...data]);
  const { sessions } = await call<{ sessions: object[] }>(path, "data", "session.list");
  expect(sessions).toMatchObject([{ session_id: "kept" }]);
});
