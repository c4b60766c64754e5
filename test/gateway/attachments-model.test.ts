import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { png } from "../support/images.ts";
import { upload } from "./files.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { ended, say, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

describe("a model", () => {
  /** What it was asked with last. */
  // oxlint-disable-next-line typescript/no-explicit-any -- whatever was sent
  const asked = (): any[] => stack.model.requests.at(-1)?.body.messages ?? [];

  test("is shown images and the text of files, in every turn that comes after", async () => {
    const bytes = png(8, 8);
    const image = await upload(stack, owner, bytes, { name: "a.png" });
    const text = await upload(stack, owner, "the plan", { name: "plan.md" });
    const attachments = [image.attachment_id, text.attachment_id];
    await say(owner, { session_id: "model", message: "what is it?", attachments });
    const content = [
      { type: "text", text: 'what is it?\n\nAttached file "plan.md":\n```\nthe plan\n```' },
      {
        type: "image_url",
        image_url: { url: `data:image/png;base64,${Buffer.from(bytes).toString("base64")}` },
      },
    ];
    expect(asked()).toEqual([{ role: "user", content }]);
    await say(owner, { session_id: "model", message: "and now?" });
    expect(asked()).toMatchObject([
      { content },
      { role: "assistant" },
      { role: "user", content: "and now?" },
    ]);
  });

  test("is shown them in a fork, and names the session by what is said", async () => {
    const { attachment_id } = await upload(stack, owner, "the other plan", { name: "plan.md" });
    await say(owner, { session_id: "named", message: "", attachments: [attachment_id] });
    const { session_id } = await owner.call("session.fork", { session_id: "named" });
    await owner.call("session.delete", { session_id: "named" });
    await say(owner, { session_id, message: "and now?" });
    expect(asked()[0].content).toContain("the other plan");
    stack.model.reply().text("A plan");
    expect((await owner.call("session.title", { session_id })).title).toBe("A plan");
    expect(asked()[1].content).toContain("plan.md");
  });

  test("that is to sum up is given no image", async () => {
    const image = await upload(stack, owner, png(9, 9), { name: "cat.png" });
    await say(owner, { session_id: "summed", message: "look", attachments: [image.attachment_id] });
    stack.model.reply().text("they looked");
    const { run_id } = await owner.call("session.compact", { session_id: "summed" });
    await ended(owner, run_id);
    expect(asked()[1].content).toContain('[image \\"cat.png\\"]');
    expect(JSON.stringify(asked())).not.toContain("base64");
  });
});
