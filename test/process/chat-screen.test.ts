import { expect, setDefaultTimeout, test } from "bun:test";
import { started } from "./chat-tools.fixture.ts";

setDefaultTimeout(60_000);

const ANSWER = [
  "# A title",
  "",
  "Some **bold** words and `code`, long enough that a narrow terminal has to break the line.",
  "Second line.",
  "",
  "- one",
  "- two",
  "",
  "```ts",
  "const a = 1;",
  "",
  "const b = 2;",
  "```",
  "",
  "| a | b |",
  "|---|---|",
  "| 1 | 2 |",
  "",
  "The end.",
].join("\n");

const SHOWN = [
  "> show me",
  "A title",
  "=======",
  "",
  "Some bold words and code, long enough that a",
  "narrow terminal has to break the line.",
  "Second line.",
  "",
  "  * one",
  "  * two",
  "",
  "+- ts",
  "| const a = 1;",
  "|",
  "| const b = 2;",
  "+-",
  "",
  "+-----+-----+",
  "| a   | b   |",
  "+-----+-----+",
  "| 1   | 2   |",
  "+-----+-----+",
  "",
  "The end.",
  "",
  ">",
];

test.each([1, 7, ANSWER.length])(
  "Markdown in %i pieces, over the height of the screen, ends as the whole",
  async (pieces) => {
    await using place = await started();
    place.model.reply().text(ANSWER, { chunks: pieces === 7 ? 40 : pieces, everyMs: 5 });
    await using chat = place.typedIn({ columns: 50, rows: 10 });
    await chat.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
    chat.type("show me\r");
    await chat.untilScreen("the answer and the prompt", (screen) => screen.endsWith("The end.\n\n>"));
    const screen = await chat.screen();
    expect(screen.slice(screen.indexOf("> show me"))).toEqual(SHOWN);
  },
);

test("what a model says moves no cursor and colours nothing", async () => {
  await using place = await started();
  place.model.reply().text("a\u001b[2Jb\u009b31mc\u202ed\rtail\u0007 👩‍👧 &#8238;x&#x9b;y&#9;z");
  await using chat = place.typedIn({ columns: 80, rows: 10 });
  await chat.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  chat.type("hello\r");
  await chat.untilScreen("the answer", (screen) => screen.includes("tail"));
  expect((await chat.screen()).join("\n")).toMatch(/> hello\na�\[2Jb�31mc�d�tail� 👩‍👧 �x�?y z\n/u);
});

test("while it answers: a line waits, a command is done at once, the prompt and what is typed stay", async () => {
  await using place = await started();
  place.model.reply().tokens(2_000, { everyMs: 5 });
  place.model.reply().text("Second answer.");
  await using chat = place.typedIn({ columns: 60, rows: 12 });
  await chat.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  chat.type("first\r");
  await chat.untilScreen("the answer", (screen) => screen.includes("t100"));
  chat.type("second");
  await chat.untilScreen("what is typed", (screen) => screen.endsWith("> second"));
  chat.type("\r");
  await chat.untilScreen("that it waits", (screen) => screen.includes("sent when this answer has ended"));
  chat.type("/approve deny\r");
  await chat.untilScreen("what it said", (screen) => screen.includes("calls that wait are denied"));
  chat.type("/abort\r");
  await chat.untilScreen("both ends", (screen) => screen.endsWith("Second answer.\n\n>"));
  const screen = (await chat.screen()).join("\n");
  expect(screen).toContain("agentbus: the run was aborted");
  expect(screen.match(/t0 t1 /g)).toHaveLength(1);
  expect(place.model.requests.at(-1)?.body.messages.at(-1)?.content).toBe("second");
});

test("told something while it calls tools, it answers with that", async () => {
  await using place = await started('policy = { "*" = "allow" }');
  place.model.reply().tool("time", {}).wait(1_500);
  place.model.reply().text("Shorter then.");
  await using chat = place.typedIn({ columns: 100, rows: 20 });
  await chat.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  chat.type("tell me\r");
  await chat.untilScreen("that it waits", (screen) => /\n. \d s\n>$/.test(screen));
  chat.type("/steer shorter\r");
  await chat.untilScreen("the answer", (screen) => screen.endsWith("Shorter then.\n\n>"));
  expect((await chat.screen()).join("\n")).toContain("\ntold\n");
  const told = place.model.requests.at(-1)?.body.messages as { role: string; content: string }[];
  expect(told.filter(({ role }) => role === "user").map(({ content }) => content)).toEqual([
    "tell me",
    "shorter",
  ]);
});

test("sessions are made, found, named, copied and left; a model is chosen; a slip is told, a path is a message", async () => {
  await using place = await started();
  await using chat = place.typedIn({ columns: 160, rows: 24 });
  const said = async (line: string, what: RegExp): Promise<void> => {
    chat.type(`${line}\r`);
    await chat.untilScreen(String(what), (screen) =>
      what.test(screen.slice(screen.lastIndexOf(` ${line}\n`))),
    );
  };
  await chat.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  place.model.reply().text("Hello.");
  await said("hi", /Hello\.\n\n>$/);
  await said("/rename First talk", /called First talk\n>$/);
  await said("/new", /\nsession ses_\w+: .*\n>$/);
  await said("/modle", /did you mean \/model\?/);
  await said("/model", /\* test\/m/);
  await said("/model test/other", /comes from test\/other/);
  place.model.reply().text("Path seen.");
  await said("/etc/hosts is a path", /Path seen\.\n\n>$/);
  expect(place.model.requests.at(-1)?.body.model).toBe("other");
  await said("/sessions first", /1 {2}First talk {2}s .*\ngo on with \(1-1, Enter: stay\):$/);
  await said("1", /session s: .*\n> hi\nHello\.\n>$/);
  await said("/fork", /session ses_\w+: .*\n> hi\nHello\.\n>$/);
  await said("/tools", /the model may call|time/);
  await said("/help", /\/sessions \[WORDS\]/);
  chat.type("/sess\t");
  await chat.untilScreen("the whole name", (screen) => screen.endsWith("> /sessions"));
  chat.type("\u0015/quit\r");
  expect(await chat.exited).toBe(0);
});

test("lines that are pasted are one message", async () => {
  await using place = await started();
  place.model.reply().text("Two lines.");
  await using chat = place.typedIn({ columns: 100, rows: 24 });
  await chat.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  chat.type("first line\nsecond line\r");
  await chat.untilScreen("the answer", (screen) => screen.endsWith("Two lines.\n\n>"));
  expect(place.model.requests.at(-1)?.body.messages.at(-1)?.content).toBe("first line\nsecond line");
});

test("a session that is picked while an answer is written is not gone to, and the conversation goes on", async () => {
  await using place = await started();
  place.model.reply().text("Hello.");
  await using chat = place.typedIn({ columns: 160, rows: 24 });
  await chat.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  chat.type("hi\r");
  await chat.untilScreen("the answer", (screen) => screen.endsWith("Hello.\n\n>"));
  chat.type("/new\r");
  await chat.untilScreen("another session", (screen) => /\nsession ses_\w+: .*\n>$/.test(screen));
  place.model.reply().tokens(2_000, { everyMs: 5 });
  chat.type("go\r");
  await chat.untilScreen("the answer", (screen) => screen.includes("t20"));
  chat.type("/sessions\r");
  await chat.untilScreen("the question", (screen) => screen.endsWith("Enter: stay):"));
  chat.type("1\r");
  await chat.untilScreen("why not", (screen) => screen.includes("agentbus: an answer is being written"));
  chat.type("/abort\r");
  await chat.untilScreen("its end", (screen) => screen.endsWith("agentbus: the run was aborted\n>"));
  chat.type("/quit\r");
  expect(await chat.exited).toBe(0);
});

test.each([
  ["fills a row", "x".repeat(39)],
  ["is wide", `x${"界".repeat(60)}`],
])("a line that %s is shown once when it was sent", async (_, line) => {
  await using place = await started();
  place.model.reply().text("Seen.");
  await using chat = place.typedIn({ columns: 41, rows: 24 });
  await chat.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  const before = (await chat.screen()).slice(0, -1);
  chat.type(`${line}\r`);
  await chat.untilScreen("the answer", (screen) => screen.endsWith("Seen.\n\n>"));
  const screen = (await chat.screen()).join("\n");
  expect(screen.slice(before.join("\n").length).replaceAll("\n", "")).toBe(`> ${line}Seen.>`);
});

test("wide code that is longer than a row stands once", async () => {
  await using place = await started();
  const wide = "界".repeat(40);
  const reply = place.model.reply();
  reply
    .text(`\`\`\`\n${wide}`)
    .wait(1_000)
    .text(`${"界".repeat(20)}\n\`\`\`\n\nThe end.`);
  await using chat = place.typedIn({ columns: 41, rows: 24 });
  await chat.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  chat.type("go\r");
  await chat.untilScreen("the answer", (screen) => screen.endsWith("The end.\n\n>"));
  const screen = (await chat.screen()).join("");
  expect(screen.match(/界/g)).toHaveLength(60);
});
