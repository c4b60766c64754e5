import { expect, setDefaultTimeout, test } from "bun:test";
import { AGENTBUS, agentbus, inTerminal, plainEnvironment, serve } from "../support/executable.ts";
import { ASKED, FLAGS, SESSION, asksFor, count, decide, startRelay, started } from "./chat-tools.fixture.ts";

setDefaultTimeout(60_000);

test("at the prompt: allowed, in the order of the answer, and always means that it is asked no more", async () => {
  await using place = await started();
  await using chat = place.typed();
  await chat.until("a prompt", (shown) => shown.includes("> "));
  place.model.reply().text("Let me see.").tool("time", { time_zone: "Europe/Berlin" });
  place.model.reply().text("It is late.");
  chat.type("what time is it?\r");
  await asksFor(chat);
  chat.type("what?\r");
  await asksFor(chat, 2);
  chat.type("y\r");
  await chat.until("the answer", (shown) => shown.includes("It is late.\n"));
  const order = [
    "> what time is it?\nLet me see.\n[calls time",
    'calls time {"time_zone":"Europe/Berlin"}]\n',
    'waits for an answer: time {"time_zone":"Europe/Berlin"}]\n',
    `${ASKED}y`,
    "[time: ok: ",
    "It is late.\n",
  ];
  const screen = (await chat.screen()).join("\n");
  const places = order.map((text) => screen.indexOf(text));
  expect(places).not.toContain(-1);
  expect(places).toEqual(places.toSorted((a, b) => a - b));

  place.model.reply().tool("time", {});
  place.model.reply().text("Later still.");
  chat.type("and now?\r");
  await chat.until("the question again", (shown) => shown.includes("waits for an answer: time {}"));
  chat.type("a\r");
  await chat.until("the second answer", (shown) => shown.includes("Later still."));
  place.model.reply().tool("time", {});
  place.model.reply().text("Time to go.");
  chat.type("and now?\r");
  await chat.until("the third answer", (shown) => shown.includes("Time to go."));
  expect(count(chat.shown, "waits for an answer")).toBe(2);
  expect(count(chat.shown, "[time: ok: ")).toBe(3);
});

test("denied, with the message on the command line; the model goes on without", async () => {
  await using place = await started();
  place.model.reply().tool("time", {});
  place.model.reply().text("As you wish.");
  await using chat = place.typed("what time is it?");
  await asksFor(chat);
  chat.type("n\r");
  expect(await chat.exited).toBe(0);
  expect(chat.shown).toContain("[time: failed: not allowed: owner said no]\n");
  expect(chat.shown).toContain("As you wish.\n");
});

test("calls of a run that somebody else began, one after the other; a line that was begun is no answer, and not lost", async () => {
  await using place = await started();
  await using chat = place.typed();
  await chat.until("a prompt", (shown) => shown.includes("> "));
  chat.type("y");
  await chat.until("what is typed", (shown) => shown.endsWith("y"));
  place.model.reply().tool("time", {}).tool("time", { time_zone: "Asia/Tokyo" }, { id: "call_1" });
  place.model.reply().text("Both are late.");
  const params = JSON.stringify({ session_id: "s", message: "what time is it?" });
  expect(await agentbus(["call", "chat.send", params, ...FLAGS], { cwd: place.path })).toMatchObject({
    code: 0,
  });
  await asksFor(chat);
  chat.type("\r");
  await asksFor(chat, 2);
  expect(count(chat.shown, "waits for an answer")).toBe(1);
  chat.type("y\r");
  await chat.until("the second question", (shown) => count(shown, "waits for an answer") === 2);
  chat.type("n\r");
  await place.model.waitForRequests(2);
  const told = JSON.stringify(place.model.requests.at(-1)?.body.messages);
  expect(told).toContain("not allowed: owner said no");
  expect(told).toContain(" UTC (2");
  await chat.until("the line that was begun", (shown) => shown.endsWith("> y"));
  place.model.reply().text("Heard.");
  chat.type("es\r");
  await chat.until("the next answer", (shown) => shown.includes("Heard."));
  expect(place.model.requests.at(-1)?.body.messages.at(-1)?.content).toBe("yes");
});

test("always, while another call of the tool waits too, is the answer to both", async () => {
  await using place = await started();
  place.model.reply().tool("time", {}).tool("time", { time_zone: "Asia/Tokyo" }, { id: "call_1" });
  place.model.reply().text("Both are late.");
  await using chat = place.typed("what time is it?");
  await asksFor(chat);
  await chat.until("both calls", (shown) => shown.includes("Asia/Tokyo"));
  chat.type("a\r");
  expect(await chat.exited).toBe(0);
  expect(count(chat.shown, "[time: ok: ")).toBe(2);
  expect(count(chat.shown, "waits for an answer")).toBe(1);
});

test.each([
  ["allow", "[time was allowed by owner]\n", "[time: ok: "],
  ["deny", "[time was denied by owner]\n", "[time: failed: not allowed"],
])(
  "answered by somebody else meanwhile (%s): the prompt goes, and it is said who decided",
  async (decision, who, result) => {
    await using place = await started();
    place.model.reply().tool("time", {});
    place.model.reply().text("It is late.");
    await using chat = place.typed();
    await chat.until("a prompt", (shown) => shown.includes("> "));
    chat.type("what time is it?\r");
    await asksFor(chat);
    chat.type("ye");
    await decide(place, decision);
    await chat.untilScreen("the answer and the prompt", (screen) => screen.endsWith("It is late.\n\n>"));
    expect(chat.shown).toContain(who);
    expect(chat.shown).toContain(result);
    place.model.reply().text("Heard.");
    chat.type("thanks\r");
    await chat.until("the next answer", (shown) => shown.includes("Heard."));
    expect(place.model.requests.at(-1)?.body.messages.at(-1)?.content).toBe("thanks");
  },
);

test("nobody answers in time: the prompt goes, and it is said", async () => {
  await using place = await started("approval_timeout_secs = 1");
  place.model.reply().tool("time", {});
  place.model.reply().text("Never mind.");
  await using chat = place.typed("what time is it?");
  await asksFor(chat);
  expect(await chat.exited).toBe(0);
  expect(chat.shown).toContain("[time was not allowed: nobody answered in time]\n");
});

test("--approve in a conversation answers for what is asked there, and for nothing else", async () => {
  await using place = await started();
  await using chat = place.typed("--approve", "allow");
  await chat.until("a prompt", (shown) => shown.includes("> "));
  place.model.reply().tool("time", {});
  place.model.reply().text("It is late.");
  chat.type("what time is it?\r");
  await chat.until("the answer", (shown) => shown.includes("It is late.\n"));
  expect(chat.shown).not.toContain("allow?");
  place.model.reply().tool("time", {});
  const params = JSON.stringify({ session_id: "s", message: "and now?" });
  await agentbus(["call", "chat.send", params, ...FLAGS], { cwd: place.path });
  await asksFor(chat);
});

test("Ctrl-C at the prompt stops the run", async () => {
  await using place = await started();
  place.model.reply().tool("time", {});
  await using chat = place.typed("what time is it?");
  await asksFor(chat);
  chat.type("\u0003");
  expect(await chat.exited).toBe(1);
  expect(chat.shown).toContain("[time waits no more: its run ended]\n");
  expect(chat.shown).toContain("the run was aborted");
});

test("the gateway dies while the prompt is open: the run is interrupted, the prompt goes, the conversation goes on", async () => {
  await using place = await started();
  await using chat = place.typed();
  await chat.until("a prompt", (shown) => shown.includes("> "));
  place.model.reply().tool("time", {});
  chat.type("what time is it?\r");
  await asksFor(chat);
  const { port } = place.gateway;
  place.gateway.signal("SIGKILL");
  await place.gateway.exited;
  place.gateway = await serve(place.path, ["--port", String(port), ...FLAGS]);
  await chat.until("its end", (shown) => shown.includes("the run was interrupted"));
  expect(chat.shown).toMatch(/\[time (?:waits no more: its run ended|does not wait any more)\]\n/);
  place.model.reply().text("Here I am.");
  chat.type("y\r");
  await chat.until("the next answer", (shown) => shown.includes("Here I am."));
  expect(place.model.requests.at(-1)?.body.messages.at(-1)?.content).toBe("y");
});

test("an answer that is given while the connection is lost arrives", async () => {
  await using relay = await startRelay();
  const { url } = relay;
  await using place = await started("", { AGENTBUS_SERVER_PUBLIC_URL: url });
  relay.port = place.gateway.port;
  const made = await agentbus(["token", "create", "mine", ...FLAGS], { cwd: place.path });
  place.model.reply().tool("time", {});
  place.model.reply().text("It is late.");
  const env = { AGENTBUS_TOKEN: made.out.trim() };
  await using chat = inTerminal(["chat", "time?", "--url", url], { cwd: place.path, env });
  await asksFor(chat);
  relay.cut();
  await chat.until("the loss, and the question below it", (shown) =>
    /\[connection lost .*\]\n.*allow\? [^\n]*$/.test(shown),
  );
  chat.type("y\r");
  await chat.until("the echo", (shown) => shown.includes(`${ASKED}y\n`));
  expect(place.model.asked).toBe(1);
  relay.mend();
  expect(await chat.exited).toBe(0);
  expect(chat.shown).toContain("It is late.\n");
  expect(chat.shown).not.toContain("was allowed by");
});

test("a call that waits already is asked for when somebody comes back to the conversation", async () => {
  await using place = await started();
  place.model.reply().tool("time", {});
  place.model.reply().text("It is late.");
  {
    await using left = place.typed("what time is it?");
    await asksFor(left);
    left.type("\u0004");
    await left.exited;
  }
  await using chat = place.typed();
  await asksFor(chat);
  chat.type("y\r");
  await place.model.waitForRequests(2);
});

test("without the scope it is said who has to answer", async () => {
  await using place = await started();
  const scopes = ["--scopes", "chat.read,chat.write,sessions.manage"];
  const made = await agentbus(["token", "create", "guest", "--user", "owner", ...scopes, ...FLAGS], {
    cwd: place.path,
  });
  place.model.reply().tool("time", {});
  place.model.reply().text("It is late.");
  const env = { AGENTBUS_TOKEN: made.out.trim() };
  await using chat = inTerminal(["chat", "time?", ...SESSION, ...FLAGS], { cwd: place.path, env });
  const said = "[time waits: somebody with the scope tools.approve has to allow or deny it]\n";
  await chat.until("who has to", (shown) => shown.includes(said));
  await decide(place, "allow");
  expect(await chat.exited).toBe(0);
  expect(chat.shown).not.toContain("allow?");
  expect(chat.shown).toContain("[time was allowed by owner]\n");
});

test("piped: the command that answers is on stderr once, works as it is written, and the answer comes", async () => {
  await using place = await started();
  place.model.reply().text("Let me see.").tool("time", {});
  place.model.reply().text("It is late.");
  const child = Bun.spawn([...AGENTBUS, "chat", "what time is it?", ...SESSION, ...FLAGS], {
    cwd: place.path,
    env: plainEnvironment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let err = "";
  const out = new Response(child.stdout).text();
  const decoder = new TextDecoder();
  for await (const chunk of child.stderr) {
    const told = err.includes("tool.approve");
    err += decoder.decode(chunk, { stream: true });
    const command = /agentbus (call tool\.approve .*)\n/.exec(err)?.[1];
    if (told || command === undefined) continue;
    const sh = ["sh", "-c", `"$@" ${command}`, "sh", ...AGENTBUS];
    const answered = Bun.spawn(sh, { cwd: place.path, env: plainEnvironment(), stdout: "ignore" });
    expect(await answered.exited).toBe(0);
  }
  expect([await child.exited, await out]).toEqual([0, "Let me see.\nIt is late.\n"]);
  expect(count(err, "agentbus call")).toBe(1);
  expect(err).toMatch(
    /^calls time \{\}\nwaits for an answer: time \{\}; .*\n.*\ntime was allowed by owner\ntime: ok: .*\n$/,
  );
});

test("piped with --approve: allow and deny answer by themselves, and the JSON has the calls", async () => {
  await using place = await started();
  const chat = (...argv: string[]) => agentbus(["chat", "time?", ...argv, ...FLAGS], { cwd: place.path });
  place.model.reply().tool("time", {});
  place.model.reply().text("It is late.");
  const allowed = await chat("--approve", "allow", "--json");
  expect(JSON.parse(allowed.out)).toMatchObject({
    status: "completed",
    content: "It is late.",
    tool_calls: [
      {
        tool_call_id: "call_0",
        name: "time",
        arguments: "{}",
        ok: true,
        content: expect.stringContaining("UTC"),
      },
    ],
  });
  place.model.reply().tool("time", {});
  place.model.reply().text("As you wish.");
  const denied = await chat("--approve", "deny");
  expect(denied).toEqual({
    code: 0,
    out: "As you wish.\n",
    err: "calls time {}\ntime: failed: not allowed: owner said no\n",
  });
  const wrong = await chat("--approve", "yes");
  expect([wrong.code, wrong.err]).toEqual([2, 'agentbus: chat --approve takes allow or deny, not "yes"\n']);
});
