import { expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, existsSync, openSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AGENTBUS, agentbus, plainEnvironment, serve, workplace } from "../support/executable.ts";
import { png } from "../support/images.ts";

setDefaultTimeout(120_000);

const PNG = png(3, 2);

interface History {
  readonly epoch: string;
  readonly messages: Record<string, unknown>[];
  readonly total: number;
}

function commands(cwd: string, data: string) {
  const run = (...argv: string[]) => agentbus([...argv, "--data-dir", data], { cwd });
  const call = async <T>(method: string, params: object = {}): Promise<T> => {
    const { code, out, err } = await run("call", method, JSON.stringify(params));
    if (code !== 0) throw new Error(`${method}: ${err}`);
    return JSON.parse(out) as T;
  };
  const history = async (session_id: string) => {
    const { messages, ...more } = await call<History>("chat.history", { session_id, limit: 1_000 });
    return { ...more, said: messages.map(({ session_id: _s, seq: _q, run_id: _r, ...message }) => message) };
  };
  return { run, call, history };
}

test("what is exported is imported elsewhere: the same messages, files and settings, once however often", async () => {
  using place = workplace();
  const { path } = place;
  await using _here = await serve(path, ["--port", "0", "--data-dir", "here"]);
  const here = commands(path, "here");
  const settings = { title: "A trip", system_prompt: "Be kind.", metadata: { a: 1 } };
  await here.call("session.create", { session_id: "trip", ...settings });
  place.file("plan.md", "We leave on Monday.\n");
  writeFileSync(join(path, "map.png"), PNG);
  const chat = [
    "chat",
    "--session",
    "trip",
    "--attach",
    "plan.md",
    "--attach",
    "map.png",
    "When do we leave?",
  ];
  expect(await here.run(...chat)).toMatchObject({ code: 0 });
  await here.call("session.create", { session_id: "old" });
  await here.call("session.update", { session_id: "old", archived: true });
  const exported = await here.run("export");
  expect(exported.code).toBe(0);
  writeFileSync(join(path, "all.jsonl"), exported.out);
  const lines = exported.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines[0]).toMatchObject({ format: "agentbus-export", version: 1 });
  expect(lines.filter(({ type }) => type === "attachment")).toHaveLength(2);

  await using _there = await serve(path, ["--port", "0", "--data-dir", "there"]);
  const there = commands(path, "there");
  const plan = await there.run("import", "all.jsonl", "--dry-run");
  expect(plan.out).toContain("A trip: 2 messages, 2 files, would come in");
  expect(await there.call("session.list")).toMatchObject({ sessions: [] });
  const imported = await there.run("import", "all.jsonl");
  expect(imported).toMatchObject({ code: 0, out: expect.stringContaining("came in as trip") });
  const [before, after] = [await here.history("trip"), await there.history("trip")];
  expect(after.epoch).not.toBe(before.epoch);
  const withoutIds = (said: object[]) =>
    JSON.parse(JSON.stringify(said).replaceAll(/att_\w+/g, "att")) as object[];
  expect(withoutIds(after.said)).toEqual(withoutIds(before.said));
  expect(await there.call("session.get", { session_id: "trip" })).toMatchObject(settings);
  expect(await there.call("session.get", { session_id: "old" })).toMatchObject({ archived: true });
  const again = await there.run("import", "all.jsonl");
  expect(again.out).toContain("is there already as trip");
  expect(await there.call("session.list", { archived: false })).toMatchObject({
    sessions: [{ session_id: "trip" }],
  });
  // It goes on as any other.
  expect(await there.run("chat", "--session", "trip", "And back?")).toMatchObject({ code: 0 });
  // Deleted, it may come in again; a name that is taken stays whose it is.
  await there.call("session.delete", { session_id: "trip" });
  await there.call("session.create", { session_id: "trip", title: "Another" });
  expect((await there.run("import", "all.jsonl")).out).toMatch(
    /A trip: 2 messages, 2 files, came in as ses_/,
  );

  truncateSync(join(path, "all.jsonl"), exported.out.length - 20);
  const cut = await there.run("import", "all.jsonl");
  expect([cut.code, cut.err]).toEqual([1, expect.stringMatching(/no JSON; is the file whole|not whole/)]);
});

test("sessions of another user take an administrator, who leaves no token behind", async () => {
  using place = workplace();
  const { path } = place;
  await using _here = await serve(path, ["--port", "0", "--data-dir", "here"]);
  const { run, call } = commands(path, "here");
  const made = await call<{ token: string }>("token.create", { name: "ann", user: "ann", role: "user" });
  place.file("ann", made.token);
  const ann = ["--token-file", "ann"];
  await run("call", "session.create", '{"session_id":"mine","title":"Of ann"}', ...ann);
  expect((await run("export")).out).not.toContain("Of ann");
  expect((await run("export", "--all")).out).toContain("Of ann");
  const exported = await run("export", "--user", "ann");
  place.file("ann.jsonl", exported.out);
  expect(await run("export", "--user", "owner", ...ann)).toMatchObject({ code: 4 });
  expect((await run("import", "ann.jsonl", "--user", "bob")).out).toContain("came in as mine");
  expect((await run("export", "--user", "bob")).out).toContain("Of ann");
  const { tokens } = await call<{ tokens: { name: string }[] }>("token.list");
  expect(tokens.filter(({ name }) => name.startsWith("agentbus "))).toEqual([]);
});

test("everybody's go to whom they are of, where that is asked for; of whom is disabled nothing is there, which is a failure", async () => {
  using place = workplace();
  const { path } = place;
  await using _here = await serve(path, ["--port", "0", "--data-dir", "here"]);
  const here = commands(path, "here");
  for (const user of ["ann", "bob", "eve"]) {
    const { token } = await here.call<{ token: string }>("token.create", { name: user, user, role: "user" });
    place.file(user, token);
    const said = JSON.stringify({ session_id: "mine", title: `Of ${user}` });
    await here.run("call", "session.create", said, "--token-file", user);
  }
  await here.call("user.disable", { user: "eve" });
  const exported = await here.run("export", "--all");
  expect([exported.code, exported.err]).toEqual([
    1,
    expect.stringMatching(/1 session of eve .*agentbus user enable eve[^]*agentbus: 2 sessions/),
  ]);
  // As one that was deleted meanwhile.
  const deleted = [
    { type: "session", session: { session_id: "cut", owner: "bob", title: "Of nobody" } },
    { type: "end", session_id: "cut", messages: 0, deleted: true },
  ].map((line) => `${JSON.stringify(line)}\n`);
  place.file("all.jsonl", exported.out + deleted.join(""));

  await using _there = await serve(path, ["--port", "0", "--data-dir", "there"]);
  const there = commands(path, "there");
  const plan = await there.run("import", "all.jsonl", "--dry-run", "--json");
  expect(plan.err).toContain("they were of 2 users and come in for one: --keep-owners");
  expect(
    plan.out
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { owner: string }).owner),
  ).toEqual(["ann", "bob"]);
  expect(await there.run("import", "all.jsonl", "--keep-owners", "--user", "bob")).toMatchObject({ code: 2 });
  const imported = await there.run("import", "all.jsonl", "--keep-owners");
  expect(imported).toMatchObject({ code: 0, err: "" });
  expect(imported.out).toContain("Of bob: 0 messages, came in as mine for bob");
  expect(await there.call("session.list")).toMatchObject({ sessions: [] });
  const { users } = await there.call<{ users: object[] }>("user.list");
  expect(users).toMatchObject([
    { user: "ann", sessions: 1, tokens: 0 },
    { user: "bob", sessions: 1, tokens: 0 },
    { user: "owner", sessions: 0 },
  ]);
  expect((await there.run("import", "all.jsonl", "--keep-owners")).out).toContain("is there already as mine");
});

test.if(existsSync("/dev/full"))("what could not be written is a failure, and says why", async () => {
  using place = workplace();
  const { path } = place;
  await using _here = await serve(path, ["--port", "0", "--data-dir", "here"]);
  for (const argv of [["export"], ["version"]]) {
    const full = openSync("/dev/full", "w");
    const child = Bun.spawn([...AGENTBUS, ...argv, ...(argv[0] === "export" ? ["--data-dir", "here"] : [])], {
      cwd: path,
      env: plainEnvironment(),
      stdin: "ignore",
      stdout: full,
      stderr: "pipe",
    });
    expect([await child.exited, await new Response(child.stderr).text()]).toEqual([
      1,
      expect.stringContaining("not everything could be written to stdout: ENOSPC"),
    ]);
    closeSync(full);
  }
});

test("a session of OpenClaw: the branch it is at, with calls, results, thoughts and images, and what is left out is said", async () => {
  using place = workplace();
  const { path } = place;
  await using _here = await serve(path, ["--port", "0", "--data-dir", "here"]);
  const { run, history, call } = commands(path, "here");
  const at = (n: number) => new Date(1_770_000_000_000 + n).toISOString();
  const usage = { input: 10, output: 5, cacheRead: 3, cacheWrite: 0 };
  const entry = (type: string, id: string, parentId: string | null, more: object) => ({
    type,
    id,
    parentId,
    timestamp: at(1),
    ...more,
  });
  const message = (id: string, parentId: string | null, said: object) =>
    entry("message", id, parentId, { message: said });
  const image = { type: "image", mimeType: "image/png", data: Buffer.from(PNG).toString("base64") };
  const lines = [
    {
      type: "session",
      version: 3,
      id: "b7300bff-a214-4c11-97ae-eab26883c67a",
      timestamp: at(0),
      cwd: "/home/ann",
    },
    entry("model_change", "a1", null, { provider: "anthropic", modelId: "claude" }),
    message("a2", "a1", {
      role: "user",
      content: [{ type: "text", text: "What is in it?" }, image],
      timestamp: 1_770_000_000_002,
    }),
    message("a3", "a2", {
      role: "assistant",
      content: [{ type: "text", text: "Left behind" }],
      stopReason: "stop",
    }),
    message("a4", "a2", {
      role: "assistant",
      content: [
        { type: "thinking", thinking: "Hm." },
        { type: "text", text: "I look." },
        { type: "toolCall", id: "call_1", name: "bash", arguments: { command: "ls" } },
      ],
      provider: "anthropic",
      model: "claude",
      usage,
      stopReason: "toolUse",
      timestamp: 1_770_000_000_003,
    }),
    message("a5", "a4", {
      role: "toolResult",
      toolCallId: "call_1",
      toolName: "bash",
      content: [{ type: "text", text: "a file" }],
      isError: false,
    }),
    entry("compaction", "a6", "a5", { summary: "They looked.", firstKeptEntryId: "a2", tokensBefore: 1 }),
    entry("session_info", "a7", "a6", { name: "Looking" }),
  ];
  place.file("sessions/b7300bff.jsonl", lines.map((line) => JSON.stringify(line)).join("\n"));
  const plan = await run("import", "sessions", "--dry-run", "--json");
  expect(JSON.parse(plan.out)).toMatchObject({
    title: "Looking",
    messages: 3,
    files: 1,
    lost: { "entries of other branches": 1, "summaries (what they cover comes in)": 1 },
  });
  expect(await run("import", "sessions")).toMatchObject({
    code: 0,
    out: expect.stringContaining("came in as b7300bff"),
  });
  const session_id = "b7300bff-a214-4c11-97ae-eab26883c67a";
  const { said } = await history(session_id);
  expect(said).toMatchObject([
    {
      role: "user",
      content: "What is in it?",
      parts: [{ type: "text" }, { type: "image", media_type: "image/png" }],
      timestamp: 1_770_000_000_002,
    },
    {
      role: "assistant",
      content: "I look.",
      model: "anthropic/claude",
      usage: { input_tokens: 13, output_tokens: 5, cached_tokens: 3 },
      parts: [
        { type: "reasoning", text: "Hm." },
        { type: "text", text: "I look." },
        { type: "tool_call", tool_call_id: "call_1", name: "bash", arguments: '{"command":"ls"}' },
      ],
    },
    { role: "tool", content: "a file", parts: [{ type: "tool_result", tool_call_id: "call_1", ok: true }] },
  ]);
  expect(await call("session.get", { session_id })).toMatchObject({
    title: "Looking",
    created_at: 1_770_000_000_000,
  });
  expect((await run("import", "sessions")).out).toContain("is there already");
  place.file("other.jsonl", '{"hello":1}\n');
  expect(await run("import", "other.jsonl")).toMatchObject({
    code: 1,
    err: expect.stringContaining("no export of agentbus"),
  });
});
