import { expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { skillText } from "../adapter/skill.fixture.ts";
import { addSkill } from "./skills.fixture.ts";
import { eventually, refusal, startStack } from "./stack.ts";

/** Skills as clients see them. */

test("a skill that is dropped into the data directory is announced to those who may read, and listed", async () => {
  await using stack = await startStack();
  await using reader = await (await stack.guest({ user: "ann", role: "viewer" })).connect({});
  await using writer = await (await stack.guest({ user: "bob", scopes: ["chat.write"] })).connect({});
  await stack.owner.call("session.create", { session_id: "s" });
  const stream = await stack.owner.events("/api/v1/sessions/s/events");
  await stream.next(({ event }) => event === "session.synced");
  await addSkill(stack, "data/skills/pdf");
  const signal = (await reader.nextEvent("skill.changed")).json;
  expect(signal).toMatchObject({ type: "event", payload: { names: ["pdf"] } });
  expect(signal).not.toHaveProperty("seq");
  const streamed = await stream.next(({ event }) => event === "skill.changed");
  expect(JSON.parse(streamed.data)).toEqual(signal);
  stream.close();
  const listed = await reader.request("skill.list");
  const pdf = { name: "pdf", directory: "<data_dir>/skills", description: "What pdf is for." };
  expect(listed).toEqual({
    skills: [{ ...pdf, state: "ready" }],
    directories: [
      { directory: ".agents/skills", found: false },
      { directory: ".claude/skills", found: false },
      { directory: "<data_dir>/skills", found: true },
    ],
  });
  expect((await stack.owner.ask("GET", "/api/v1/skills")).json).toEqual(listed);
  await writer.request("heartbeat");
  expect(writer.frames.map(({ json }) => json.event)).not.toContain("skill.changed");
});

test("the working directory's win over those of the data directory, configured ones stand between", async () => {
  await using stack = await startStack({
    config: { skills: { directories: ["shared"], auto_reload: false } },
  });
  const places = ["data/skills", "shared", ".claude/skills", ".agents/skills"];
  for (const place of places) {
    await addSkill(stack, `${place}/pdf`);
    const { changed } = await stack.owner.call("skill.reload");
    expect(changed).toEqual(["pdf"]);
    const { skills } = await stack.owner.call("skill.list");
    expect(skills[0]).toMatchObject({
      state: "ready",
      directory: expect.stringContaining(place.replace("data/", "")),
    });
    expect(skills.slice(1).every(({ state }: { state: string }) => state === "shadowed")).toBe(true);
  }
});

test("without auto_reload changes are read when an administrator asks, and by nobody else", async () => {
  await using stack = await startStack({ config: { skills: { auto_reload: false } } });
  await addSkill(stack, "data/skills/pdf", "---\nname: pdf\n---\n");
  const operator = await stack.guest({ user: "ann", role: "operator" });
  expect(await refusal(operator.call("skill.reload"))).toMatchObject({
    code: "FORBIDDEN",
    details: { scope: "admin" },
  });
  expect(await operator.call("skill.list")).toMatchObject({ skills: [] });
  expect(await stack.owner.call("skill.reload")).toEqual({ changed: ["pdf"] });
  expect(await operator.call("skill.list")).toMatchObject({
    skills: [{ name: "pdf", state: "broken", reason: "description: it is missing" }],
  });
  const { entries } = await stack.owner.call("audit.list", { action: "skill.reload" });
  expect(entries.map(({ user, outcome }: { user: string; outcome: string }) => [user, outcome])).toEqual([
    ["owner", "ok"],
    ["ann", "FORBIDDEN"],
  ]);
});

test("skills are there from the start, and what is wrong with one is in the log", async () => {
  await using stack = await startStack();
  await addSkill(stack, "data/skills/pdf");
  await addSkill(stack, "data/skills/bad", "no front matter");
  stack.gateway.kill();
  await stack.gateway.restart();
  const states = (await stack.owner.call("skill.list")).skills.map(
    ({ name, state }: { name: string; state: string }) => `${name} ${state}`,
  );
  expect(states).toEqual(["bad broken", "pdf ready"]);
  const warned = stack.gateway.log.filter(({ msg }) => msg === "a skill is broken");
  expect(warned).toMatchObject([{ skill: "bad", directory: "<data_dir>/skills" }]);
});

test("many are listed in pages that a reader can take", async () => {
  await using stack = await startStack();
  const names = Array.from({ length: 150 }, (_, index) => `s${String(index).padStart(3, "0")}`);
  const long = "x".repeat(4_000);
  for (const name of names) {
    const text = skillText(name).replace("---\n\n", `metadata: {long: ${long}}\n---\n\n`);
    await addSkill(stack, `data/skills/${name}`, text);
  }
  const pages: string[][] = [];
  await eventually(
    async () => {
      pages.length = 0;
      for (let cursor: string | undefined; ;) {
        const { text, json } = await stack.owner.ask(
          "GET",
          `/api/v1/skills${cursor === undefined ? "" : `?cursor=${cursor}`}`,
        );
        expect(text.length).toBeLessThan(280 * 1_024);
        pages.push(json.skills.map(({ name }: { name: string }) => name));
        cursor = json.next;
        if (cursor === undefined) return pages.flat();
      }
    },
    (all) => all.length === names.length,
  );
  expect([pages.flat(), pages.length]).toEqual([names, 3]);
});

test("what becomes of skills disturbs no answer that is under way", async () => {
  await using stack = await startStack();
  await addSkill(stack, "data/skills/pdf");
  stack.model.reply().tokens(40, { everyMs: 25 });
  await using socket = await stack.owner.connect({});
  const { run_id } = await socket.request("chat.send", { session_id: "s", message: "go" });
  await socket.nextEvent("message.delta");
  await addSkill(stack, "data/skills/pdf", skillText("pdf", "Edited."));
  await socket.nextEvent("skill.changed");
  await rm(join(stack.gateway.data_dir, "skills"), { recursive: true });
  await socket.nextEvent("skill.changed");
  const end = await socket.next(
    ({ json }) => json.run_id === run_id && json.event === "run.completed",
    15_000,
  );
  expect(end.json.payload.run.status).toBe("completed");
});
