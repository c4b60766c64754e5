import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { agentbus, serve, workplace } from "../support/executable.ts";
import { startModelServer } from "../support/model-server.ts";

const HERE = ["--data-dir", "data"];

test("usage tells what was used, on the running gateway and without one, as a table and as JSON", async () => {
  using place = workplace();
  await using model = await startModelServer();
  const config = [
    "[llm]",
    'default_provider = "far"',
    'default_model = "big"',
    'currency = "EUR"',
    "[llm.providers.far]",
    `base_url = "${model.url()}"`,
    'prices = { "big*" = { input = 2.5, output = 10 } }',
    "[budgets]",
    "day_tokens = 50",
  ];
  writeFileSync(join(place.path, "agentbus.toml"), config.join("\n"));
  const run = (...argv: string[]) => agentbus([...argv, ...HERE], { cwd: place.path });
  const today = new Date().toISOString().slice(0, 10);
  {
    await using running = await serve(place.path, ["--port", "0", ...HERE]);
    model.reply().text("hello").usage({ prompt_tokens: 40, completion_tokens: 3 });
    expect((await run("chat", "hi")).code).toBe(0);
    model.reply().text("without a word of it");
    const sent = await run("call", "chat.send", '{"message":"hi","model":"far/other"}');
    const { run_id } = JSON.parse(sent.out) as { run_id: string };
    expect((await run("call", "run.wait", JSON.stringify({ run_id, timeout_ms: 20_000 }))).out).toContain(
      "completed",
    );
    const { code, out } = await run("usage", "--by", "model", "--since", "1d");
    expect(code).toBe(0);
    expect(out.trimEnd().split("\n")).toEqual([
      expect.stringMatching(/^model +calls +input +cached +output +reasoning +cost EUR$/),
      expect.stringMatching(/^far\/big +1 +40 +0 +3 +0 +0\.00013$/),
      expect.stringMatching(/^far\/other +1 +0 +0 +0 +0 +-$/),
      expect.stringMatching(/^total +2 +40 +0 +3 +0 +0\.00013$/),
      "1 of the calls told no usage; they are in no other column",
      expect.stringMatching(/^budgets\.day_tokens: 43 of 50, until \d{4}-\d\d-\d\d$/),
    ]);
    expect((await run("usage", "--by", "user")).out).toMatch(/\nowner +2 +40 /);
    running.signal("SIGTERM");
    await running.exited;
  }
  const { out } = await run("usage", "--json", "--all");
  expect(JSON.parse(out)).toMatchObject({
    currency: "EUR",
    total: { calls: 2, unknown_calls: 1, cost: 130_000 },
    groups: [{ day: today, calls: 2 }],
  });
  expect((await run("usage", "--until", "2020-01-01")).out).toMatch(/\ntotal +0 +0 +0 +0 +0 +-\n/);
  for (const [flag, value, message] of [
    ["--by", "week", 'agentbus: usage --by takes day, model, user, session, not "week"\n'],
    ["--limit", "0", 'agentbus: --limit takes a number from 1 to 500, not "0"\n'],
  ] as const) {
    const wrong = await run("usage", flag, value);
    expect([wrong.code, wrong.err]).toEqual([2, message]);
  }
});
