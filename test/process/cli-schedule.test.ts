import { expect, test } from "bun:test";
import { agentbus, serve, workplace } from "../support/executable.ts";

const HERE = ["--data-dir", "data"];

test("schedule create, list, update, run and delete, on the running gateway and without one", async () => {
  using place = workplace();
  const run = (...argv: string[]) => agentbus([...argv, ...HERE], { cwd: place.path });
  const morning = ["--timezone", "Europe/Berlin", "--name", "morning", "--session", "news"];
  expect((await run("schedule", "create", "0 8 * * MON-FRI", "What is new?", ...morning)).out).toMatch(
    /^sch_\w+: next at \d{4}-\d\d-\d\dT0[67]:00Z\n$/,
  );
  // One moment, by a clock that is two hours ahead then.
  const once = [
    "schedule",
    "create",
    "2999-07-01T18:00",
    "Party",
    "--timezone",
    "Europe/Berlin",
    "--name",
    "party",
  ];
  expect((await run(...once)).out).toMatch(/: next at 2999-07-01T16:00Z\n$/);
  await using _running = await serve(place.path, ["--port", "0", ...HERE]);
  expect((await run("schedule", "run", "morning")).out).toMatch(/^started: run_\w+ in news\n$/);
  expect((await run("schedule", "update", "morning", "--when", "@daily", "--disable")).out).toBe(
    "changed; it is off\n",
  );
  expect((await run("schedule", "list")).out).toMatch(
    /^id +name +user +when +next +last\nsch_\w+ +morning +owner +@daily \S+ +off +-\nsch_\w+ +party +owner +2999-07-01T16:00Z +2999-07-01T16:00Z +-\n$/,
  );
  expect((await run("schedule", "delete", "party")).out).toBe("deleted\n");
  for (const [when, why] of [
    ["2026-13-01T00:00", '"2026-13-01T00:00" is no moment'],
    ["61 * * * *", "cron: Invalid value for minute: 61"],
    ["2020-01-01T00:00Z", "at: it is past already"],
  ] as const) {
    const { code, err } = await run("schedule", "create", when, "x");
    expect([when, code !== 0, err.includes(why)]).toEqual([when, true, true]);
  }
});
