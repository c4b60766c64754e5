import { expect, setDefaultTimeout, test } from "bun:test";
import { chmod, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Message } from "../../src/protocol/entities.ts";
import { skillText } from "../adapter/skill.fixture.ts";
import { processesWith } from "../support/processes.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { addSkill } from "./skills.fixture.ts";
import type { Stack } from "./stack.ts";
import { ended, eventually, say, startStack } from "./stack.ts";

/** A model that uses skills: one that is dropped into the data directory, what becomes of it meanwhile, its scripts. */

setDefaultTimeout(60_000);

const RUNS = { builtin: ["skill", "skill_run"], policy: { "*": "ask", skill: "allow" } };

async function results(stack: Stack, session_id: string): Promise<[ok: boolean, content: string][]> {
  const { messages } = (await stack.owner.call("chat.history", { session_id })) as { messages: Message[] };
  return messages.flatMap(({ parts = [], content }) => {
    const [part] = parts;
    return part?.type === "tool_result" ? [[part.ok, content] as [boolean, string]] : [];
  });
}

/** A skill with a script, known to the gateway. */
async function addScript(stack: Stack, text: string): Promise<string> {
  const path = join(stack.gateway.data_dir, "skills/s/go");
  await addSkill(stack, "data/skills/s");
  await Bun.write(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o755);
  await stack.owner.call("skill.reload");
  return path;
}

/** The approval the socket is asked for next. */
async function asked(socket: TestSocket): Promise<{ approval_id: string; name: string; arguments: string }> {
  const { json } = await socket.next((frame) => frame.json.event === "tool.approval_requested");
  return json.payload.approval;
}

test("a model is told of a skill that was just dropped in, reads it without asking, then a file of it", async () => {
  await using stack = await startStack();
  stack.model.reply().text("none yet");
  await say(stack.owner, { session_id: "s", message: "go" });
  await using socket = await stack.owner.connect({});
  await addSkill(stack, "data/skills/pdf", skillText("pdf", "Reads PDFs.", "See guide.md."));
  await Bun.write(join(stack.gateway.data_dir, "skills/pdf/guide.md"), "Page by page.");
  await socket.nextEvent("skill.changed");
  stack.model.reply().tool("skill", { name: "pdf" });
  stack.model.reply().tool("skill", { name: "pdf", file: "guide.md" });
  stack.model.reply().text("Read.");
  const { run } = await say(stack.owner, { session_id: "s", message: "read it" });
  expect(run).toMatchObject({ status: "completed" });
  const [none, first] = stack.model.requests.map(({ body }) => body);
  // Models that take no tools go on working where there are none.
  expect([none.tools, none.messages[0].role]).toEqual([undefined, "user"]);
  expect(first.tools.map((tool: { function: { name: string } }) => tool.function.name)).toEqual(["skill"]);
  expect(first.messages[0]).toMatchObject({
    role: "system",
    content: expect.stringContaining("- pdf: Reads PDFs."),
  });
  expect(await results(stack, "s")).toEqual([
    [true, "See guide.md.\n\nFiles of this skill (read one with skill and file):\n- guide.md (13 bytes)"],
    [true, "Page by page."],
  ]);
});

/** What the list says of the skills: names with a state, or the description of one that is ready. */
async function listed(stack: Stack): Promise<string> {
  const { skills } = await stack.owner.call("skill.list");
  const say = ({ name, state, description }: Record<string, string>): string =>
    `${name} ${state === "ready" ? description : state}`;
  return skills.map(say).join();
}

test("what becomes of a skill during a run counts from the next call on, and nothing that was read changes", async () => {
  await using stack = await startStack({ config: { tools: { policy: { "*": "ask" } } } });
  const folder = join(stack.gateway.data_dir, "skills");
  const pdf = (text: string) => () => addSkill(stack, "data/skills/pdf", text);
  const version = (text: string): string => skillText("pdf", text, `${text}.`);
  await addSkill(stack, "data/skills/a", skillText("a", "stays"));
  const gone = 'there is no skill "pdf"; there are a';
  const steps: [change: () => Promise<void>, shown: string, told: string][] = [
    [pdf(version("first")), "a stays,pdf first", "first."],
    [pdf(version("second")), "a stays,pdf second", "second."],
    [pdf("---\nname: ["), "a stays,pdf stale", "second."],
    [pdf(version("third")), "a stays,pdf third", "third."],
    [() => rename(join(folder, "pdf"), join(folder, "csv")), "a stays,csv broken", gone],
    [pdf(version("again")), "a stays,csv broken,pdf again", "again."],
    [() => rm(join(folder, "pdf"), { recursive: true }), "a stays,csv broken", gone],
    [() => rm(folder, { recursive: true }), "", "skill is not there any more"],
  ];
  // The same call again and again would be stopped.
  for (const at of steps.keys()) stack.model.reply().tool("skill", `{"name":${" ".repeat(at)}"pdf"}`);
  stack.model.reply().text("Done.");
  await stack.owner.call("skill.reload");
  await using socket = await stack.owner.connect({});
  const { run_id } = await socket.request("chat.send", { session_id: "s", message: "go" });
  for (const [change, shown] of steps) {
    const { approval_id } = await asked(socket);
    await change();
    await eventually(
      () => listed(stack),
      (now) => now === shown,
    );
    await socket.request("tool.approve", { session_id: "s", approval_id, decision: "allow" });
  }
  expect(await ended(stack.owner, run_id)).toMatchObject({ status: "completed" });
  const told = (await results(stack, "s")).map(([, content]) => content);
  expect(told).toEqual(steps.map(([, , what]) => what));
});

test("where the policy denies the tool, nothing is said of skills", async () => {
  await using stack = await startStack({ config: { tools: { policy: { "*": "deny" } } } });
  await addSkill(stack, "data/skills/pdf");
  await stack.owner.call("skill.reload");
  stack.model.reply().text("ok");
  await say(stack.owner, { session_id: "s", message: "go" });
  const [{ body } = { body: null }] = stack.model.requests;
  expect([body.tools, body.messages]).toEqual([undefined, [{ role: "user", content: "go" }]]);
});

test("scripts are off until they are wished for", async () => {
  await using stack = await startStack();
  await addScript(stack, "echo ran");
  expect((await stack.owner.call("tool.list")).tools.map(({ name }: { name: string }) => name)).toEqual([
    "skill",
  ]);
  stack.model.reply().tool("skill_run", { skill: "s", script: "go" });
  await say(stack.owner, { session_id: "x", message: "go" });
  expect(await results(stack, "x")).toEqual([[false, "there is no tool skill_run"]]);
});

test("a script is asked for on a socket, allowed by REST, and knows nothing of the gateway's secrets", async () => {
  await using stack = await startStack({ config: { tools: RUNS } });
  await addScript(stack, 'echo "$@"; env | cut -d= -f1 | sort | tr "\\n" " "');
  stack.model.reply().tool("skill_run", { skill: "s", script: "go", args: ["a b", "$HOME"] });
  stack.model.reply().text("Ran.");
  await using socket = await stack.owner.connect({});
  const { run_id } = await socket.request("chat.send", { session_id: "x", message: "go" });
  const { approval_id, name } = await asked(socket);
  expect(name).toBe("skill_run");
  await stack.owner.call("tool.approve", { session_id: "x", approval_id, decision: "allow" });
  expect(await ended(stack.owner, run_id)).toMatchObject({ status: "completed" });
  const [[ok, content] = [false, ""]] = await results(stack, "x");
  const [, told = ""] = content.split("stdout:\n");
  const [args, names = ""] = told.split("\n");
  expect([ok, args]).toEqual([true, "a b $HOME"]);
  // PWD is the shell's own.
  expect(
    names
      .trim()
      .split(" ")
      .filter((each) => !/^(?:PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|PWD|OLDPWD|SHLVL|_)$/.test(each)),
  ).toEqual([]);
});

test("denied, it is not run", async () => {
  await using stack = await startStack({ config: { tools: RUNS } });
  const script = await addScript(stack, "touch ran");
  stack.model.reply().tool("skill_run", { skill: "s", script: "go" });
  await using socket = await stack.owner.connect({});
  const { run_id } = await socket.request("chat.send", { session_id: "x", message: "go" });
  const { approval_id } = await asked(socket);
  await socket.request("tool.approve", { session_id: "x", approval_id, decision: "deny" });
  await ended(stack.owner, run_id);
  expect(await results(stack, "x")).toEqual([[false, "not allowed: owner said no"]]);
  expect(await Bun.file(join(script, "../ran")).exists()).toBe(false);
});

test.each<[string, (stack: Stack, run_id: string) => Promise<unknown>]>([
  ["an abort", (stack, run_id) => stack.owner.call("chat.abort", { run_id })],
  ["a stop of the gateway", async ({ gateway }) => gateway.kill("SIGTERM")],
])("%s kills a script with all its children", async (how, stop) => {
  const mark = `1${process.pid}.${how.length}`;
  await using stack = await startStack({ config: { tools: { ...RUNS, policy: { "*": "allow" } } } });
  await addScript(
    stack,
    `trap "" TERM INT HUP\nsh -c 'trap "" TERM; sleep ${mark} & sleep ${mark}' &\nsleep ${mark}`,
  );
  stack.model.reply().tool("skill_run", { skill: "s", script: "go" });
  const { run_id } = await stack.owner.call("chat.send", { session_id: "x", message: "go" });
  await eventually(
    () => processesWith(`sleep ${mark}`).length,
    (count) => count >= 4,
  );
  const began = performance.now();
  const stopped = stop(stack, run_id);
  await eventually(
    () => processesWith(`sleep ${mark}`),
    (left) => left.length === 0,
  );
  // A stop of the gateway takes its time; 100 ms are promised of an abort, on a machine that is not busy.
  if (how === "an abort") expect(performance.now() - began).toBeLessThan(500);
  await stopped;
});

test("one that takes too long is stopped, and the model is told so", async () => {
  await using stack = await startStack({
    config: { tools: { ...RUNS, policy: { "*": "allow" }, timeout_secs: 1 } },
  });
  const mark = `1${process.pid}.9`;
  await addScript(stack, `sleep ${mark}`);
  stack.model.reply().tool("skill_run", { skill: "s", script: "go" });
  stack.model.reply().text("Too slow.");
  const { run } = await say(stack.owner, { session_id: "x", message: "go" });
  expect(run).toMatchObject({ status: "completed" });
  expect(await results(stack, "x")).toEqual([[false, "skill_run took longer than 1000 ms"]]);
  await eventually(
    () => processesWith(`sleep ${mark}`),
    (left) => left.length === 0,
  );
});
