import { expect, test } from "bun:test";
import { AGENTBUS, agentbus, plainEnvironment, serve, workplace } from "../support/executable.ts";

const HERE = ["--data-dir", "data"];

test("audit shows what happened, on the running gateway and without one, as a table and as JSON", async () => {
  using place = workplace();
  const run = (...argv: string[]) => agentbus([...argv, ...HERE], { cwd: place.path });
  {
    await using running = await serve(place.path, ["--port", "0", ...HERE]);
    // A name is what somebody else chose: it does not reach the terminal as it is.
    const made = await run("token", "create", "\u001b[31mphone", "--user", "ada", "--json");
    const { token_id } = JSON.parse(made.out) as { token_id: string };
    expect((await run("token", "revoke", token_id)).code).toBe(0);
    const { code, out } = await run("audit", "--action", "token");
    expect(code).toBe(0);
    const [head, created, revoked, ...more] = out.trimEnd().split("\n");
    expect(head).toMatch(/^time +who +what +outcome +from +about$/);
    expect(created).toMatch(
      new RegExp(`owner +token.create +ok +127.0.0.1 ws token \\S+ +${token_id} .*"user":"ada"`),
    );
    expect(revoked).toMatch(new RegExp(`owner +token.revoke +ok +127.0.0.1 ws token \\S+ +${token_id}$`));
    expect(more).toEqual([]);
    expect(out).not.toContain("\u001b");
    running.signal("SIGTERM");
    await running.exited;
  }
  const lines = (await run("audit", "--json", "--since", "1h", "--action", "token", "--limit", "1")).out;
  expect(
    lines
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toMatchObject([{ action: "token.revoke", outcome: "ok", user: "owner", remote: "127.0.0.1" }]);
  // What is done without a gateway is in it too.
  await run("token", "create", "offline");
  expect((await run("audit", "--limit", "1")).out).toMatch(/owner +token.create +ok +local token cli +tok_/);
  const wrong = await run("audit", "--since", "yesterday");
  expect([wrong.code, wrong.err]).toEqual([
    2,
    'agentbus: "yesterday" is no time: write 15m, 1h, 7d, or a date like 2026-01-31T12:00Z\n',
  ]);
});

test("audit --follow goes on with what comes, each entry once", async () => {
  using place = workplace();
  await using _running = await serve(place.path, ["--port", "0", ...HERE]);
  const child = Bun.spawn([...AGENTBUS, "audit", "--follow", "--json", "--action", "token", ...HERE], {
    cwd: place.path,
    env: plainEnvironment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const seen: string[] = [];
  const reading = (async () => {
    let text = "";
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) seen.push((JSON.parse(line) as { details: { name: string } }).details.name);
    }
  })();
  const create = (name: string) => agentbus(["token", "create", name, ...HERE], { cwd: place.path });
  const shows = async (count: number): Promise<void> => {
    for (const end = Date.now() + 20_000; seen.length < count && Date.now() < end;) await Bun.sleep(20);
  };
  for (const [index, name] of ["a", "b", "c"].entries()) {
    await create(name);
    await shows(index + 1);
  }
  child.kill("SIGINT");
  expect(await child.exited).toBe(0);
  await reading;
  expect(seen).toEqual(["a", "b", "c"]);
});
