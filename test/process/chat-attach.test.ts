import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Outcome } from "../support/executable.ts";
import { agentbus } from "../support/executable.ts";
import { png } from "../support/images.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { FLAGS, SESSION, started } from "./chat-tools.fixture.ts";
import { gatewayMachine, machine, serveOn } from "./device.fixture.ts";

setDefaultTimeout(60_000);

const IMAGE = png(8, 8);
const IMAGE_URL = { url: `data:image/png;base64,${Buffer.from(IMAGE).toString("base64")}` };
const NOTES = 'Attached file "notes.md":\n```\nthe plan\n```';

type Started = Awaited<ReturnType<typeof started>>;

function withFiles(place: Pick<Started, "path">): void {
  writeFileSync(join(place.path, "notes.md"), "the plan");
  mkdirSync(join(place.path, "pictures of May"));
  writeFileSync(join(place.path, "pictures of May", "photo.png"), IMAGE);
  writeFileSync(join(place.path, "noise.bin"), Buffer.alloc(64, 0xff));
}

/** What the model was told last. */
function told(model: ModelServer): unknown {
  return model.requests.at(-1)?.body.messages.at(-1)?.content;
}

function chat({ path }: Started, argv: string[], stdin?: string): Promise<Outcome> {
  const options = { cwd: path, ...(stdin !== undefined && { stdin }) };
  return agentbus(["chat", ...argv, ...SESSION, ...FLAGS], options);
}

test("files go with a message that is given or piped in, or alone, and no login stays behind", async () => {
  await using place = await started();
  withFiles(place);
  place.model.reply().text("A plan.");
  const given = await chat(place, [
    "--attach",
    "notes.md",
    "--attach=./pictures of May/photo.png",
    "what is it?",
  ]);
  expect(given).toEqual({ code: 0, out: "A plan.\n", err: "" });
  expect(told(place.model)).toEqual([
    { type: "text", text: `what is it?\n\n${NOTES}` },
    { type: "image_url", image_url: IMAGE_URL },
  ]);

  place.model.reply().text("Still a plan.");
  const piped = await chat(place, ["--json", "--attach", "notes.md"], "and now?\n");
  expect(piped).toMatchObject({ code: 0, err: "" });
  expect(JSON.parse(piped.out)).toMatchObject({ status: "completed", content: "Still a plan." });
  expect(told(place.model)).toBe(`and now?\n\n${NOTES}`);

  place.model.reply().text("Alone.");
  expect(await chat(place, ["--attach", "notes.md"], "")).toEqual({ code: 0, out: "Alone.\n", err: "" });
  expect(told(place.model)).toBe(NOTES);

  const logins = await agentbus(["call", "auth_session.list", ...FLAGS], { cwd: place.path });
  expect(JSON.parse(logins.out)).toMatchObject({ auth_sessions: [] });
});

test("what cannot be attached is told, and nothing is sent", async () => {
  await using place = await started();
  withFiles(place);
  for (const [file, why] of [
    ["absent.md", "there is no file absent.md"],
    [".", ". is a directory: attach the files in it"],
    ["/dev/null", "/dev/null is no file: write it to one first"],
    ["noise.bin", "noise.bin was not attached: "],
  ] as const) {
    const { code, out, err } = await chat(place, ["--attach", file, "look"]);
    expect([file, code, out]).toEqual([file, 1, ""]);
    expect(err).toStartWith(`agentbus: ${why}`);
  }
  const huge = join(place.path, "huge.txt");
  writeFileSync(huge, Buffer.alloc(40 * 1024 * 1024, 0x61));
  const { code, err } = await chat(place, ["--attach", huge, "look"]);
  expect([code, err]).toEqual([1, expect.stringContaining("limits.attachment_bytes")]);
  expect(place.model.requests).toEqual([]);
});

test("in a conversation: named, listed, dropped, sent with the next message, and shown when it is recalled", async () => {
  await using place = await started();
  withFiles(place);
  await using typed = place.typedIn({ columns: 160, rows: 30 });
  const said = async (line: string, what: RegExp): Promise<void> => {
    typed.type(`${line}\r`);
    await typed.untilScreen(String(what), (screen) =>
      what.test(screen.slice(screen.lastIndexOf(` ${line}\n`))),
    );
  };
  await typed.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  await said("/attach", /nothing is attached: \/attach FILE/);
  await said("/attach absent.md", /agentbus: there is no file absent\.md\n>$/);
  await said("/attach noise.bin", /agentbus: noise\.bin was not attached: .*\n>$/);
  await said("/attach notes.md", /\nnotes\.md, text\/markdown, 8 bytes: goes with the next message\n>$/);
  await said("/attach none", /nothing is attached any more\n>$/);
  await said("/attach none", /nothing was attached\n>$/);
  place.model.reply().text("Without.");
  await said("first", /Without\.\n\n>$/);
  expect(told(place.model)).toBe("first");

  typed.type("/attach pic\t");
  await typed.untilScreen("the directory", (screen) => screen.endsWith("> /attach pictures\\ of\\ May/"));
  typed.type("ph\t");
  await typed.untilScreen("the file", (screen) => screen.endsWith("/photo.png"));
  typed.type(" notes.md\r");
  await typed.untilScreen(
    "both",
    (screen) =>
      /photo\.png, image\/png, \d+ bytes: goes/.test(screen) && screen.split("notes.md, text").length > 2,
  );
  await said("/attach", /with the next message.*\n {2}photo\.png, \d+ bytes\n {2}notes\.md, 8 bytes\n>$/);
  place.model.reply().text("A plan.");
  await said("second", /\n\[image photo\.png, \d+ bytes\]\n\[file notes\.md, 8 bytes\]\nA plan\.\n\n>$/);
  expect(told(place.model)).toEqual([
    { type: "text", text: `second\n\n${NOTES}` },
    { type: "image_url", image_url: IMAGE_URL },
  ]);
  place.model.reply().text("Nothing more.");
  await said("third", /Nothing more\.\n\n>$/);
  expect(told(place.model)).toBe("third");
  typed.type("/quit\r");
  expect(await typed.exited).toBe(0);

  await using again = place.typed("--attach", "notes.md");
  await again.untilScreen("the files of the message", (screen) =>
    /\n> second\n\[image photo\.png, \d+ bytes\]\n\[file notes\.md, 8 bytes\]\nA plan\.\n/.test(screen),
  );
  await again.untilScreen("what waits", (screen) =>
    screen.endsWith("with the first message: file notes.md, 8 bytes\n>"),
  );
  place.model.reply().text("Yes.");
  again.type("fourth\r");
  await again.untilScreen("the answer", (screen) => screen.endsWith("Yes.\n\n>"));
  expect(told(place.model)).toBe(`fourth\n\n${NOTES}`);
});

test("files go with what is told while it answers, and wait on where a message is refused", async () => {
  await using place = await started('policy = { "*" = "allow" }\n[limits]\nmessage_bytes = 2000\n');
  withFiles(place);
  await using typed = place.typedIn({ columns: 160, rows: 30 });
  const attach = async (): Promise<void> => {
    typed.type("/attach notes.md\r");
    await typed.untilScreen("that it waits", (screen) => screen.endsWith("goes with the next message\n>"));
  };
  await typed.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  await attach();
  typed.type(`${"too long ".repeat(300)}\r`);
  await typed.untilScreen("that it is kept", (screen) =>
    screen.endsWith("wait for the next message (/attach none: without)\n>"),
  );
  place.model.reply().tool("time", {}).wait(3_000);
  place.model.reply().text("Told.");
  typed.type("go\r");
  await typed.untilScreen("that it waits", (screen) => /\n. \d s\n>$/.test(screen));
  await place.model.waitForRequests(1);
  expect(told(place.model)).toBe(`go\n\n${NOTES}`);
  typed.type("/attach notes.md\r");
  await typed.until("that it waits", (shown) => shown.split("goes with the next message").length === 3);
  typed.type("/steer and this\r");
  await typed.untilScreen("the answer", (screen) => screen.endsWith("Told.\n\n>"));
  const heard = place.model.requests.at(-1)?.body.messages as { role: string; content: string }[];
  expect(heard.findLast(({ role }) => role === "user")?.content).toBe(`and this\n\n${NOTES}`);
});

test("a machine with a key, and a gateway that is known by its fingerprint", async () => {
  await using model = await startModelServer();
  const llm = `[llm]\ndefault_provider = "test"\ndefault_model = "test/m"\n[llm.providers.test]\nbase_url = "${model.url()}"\n`;
  using home = gatewayMachine(llm, 'tls = { mode = "auto" }\n');
  using laptop = machine();
  withFiles(laptop);
  await using gateway = await serveOn(home);
  const at = ["--url", gateway.url];
  const fingerprint = /SHA-256 (\S+),/.exec((await home.run("status")).out)?.[1] ?? "";
  await using pairing = laptop.start("device", "pair", "--json", ...at, "--fingerprint", fingerprint);
  const { code } = JSON.parse(await pairing.line(0)) as { code: string };
  await home.json("device", "approve", code, "--json");
  expect(await pairing.ended()).toMatchObject({ code: 0 });
  model.reply().text("A plan.");
  const answer = await laptop.run("chat", "--attach", "notes.md", "what is it?", ...at);
  expect(answer).toEqual({ code: 0, out: "A plan.\n", err: "" });
  expect(told(model)).toBe(`what is it?\n\n${NOTES}`);
  expect(await home.json("call", "auth_session.list")).toMatchObject({ auth_sessions: [] });
});

test("a file that the gateway has erased meanwhile is told of, and the conversation goes on", async () => {
  await using place = await started("[limits]\nupload_ttl_secs = 1");
  withFiles(place);
  await using typed = place.typedIn({ columns: 160, rows: 30 });
  await typed.untilScreen("a prompt", (screen) => screen.endsWith("\n>"));
  typed.type("/attach notes.md\r");
  await typed.untilScreen("that it waits", (screen) => screen.endsWith("goes with the next message\n>"));
  await Bun.sleep(1_100);
  typed.type("first\r");
  await typed.untilScreen("why not", (screen) => /\nagentbus: a file waited too long .*\n>$/.test(screen));
  place.model.reply().text("Hello.");
  typed.type("second\r");
  await typed.untilScreen("the answer", (screen) => screen.endsWith("Hello.\n\n>"));
  expect(place.model.requests.map(({ body }) => body.messages.at(-1)?.content)).toEqual(["second"]);
});
