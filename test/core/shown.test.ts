import { expect, test } from "bun:test";
import { contextOf } from "../../src/core/context.ts";
import { readShown, toldOf } from "../../src/core/shown.ts";
import { summaryOf } from "../../src/core/summary.ts";
import { tokensOf, withinWindow } from "../../src/core/window.ts";
import type { EventMessage, Part } from "../../src/protocol/entities.ts";

const BOUNDS = { shown_file_bytes: 100, shown_files_bytes: 250, shown_images: 2, shown_images_bytes: 1_000 };
const PIECE = 64;

/** Contents by attachment_id, in pieces of 64 bytes. */
function storeOf(contents: Record<string, string>) {
  const reads: string[] = [];
  return {
    reads,
    async piece(_session: string, attachment_id: string, n: number): Promise<Uint8Array | null> {
      reads.push(attachment_id);
      const bytes = Buffer.from(contents[attachment_id] ?? "");
      const piece = bytes.subarray(n * PIECE, n * PIECE + PIECE);
      return piece.length === 0 ? null : piece;
    },
  };
}

function file(attachment_id: string, bytes: number, name = `${attachment_id}.md`): Part {
  return { type: "file", attachment_id, name, media_type: "text/markdown", bytes };
}
function image(attachment_id: string, bytes: number): Part {
  const about = { attachment_id, name: `${attachment_id}.png`, media_type: "image/png", bytes };
  return { type: "image", ...about, width: 300, height: 200 };
}
function says(content: string, ...parts: Part[]): EventMessage {
  const text: Part[] = content === "" ? [] : [{ type: "text", text: content }];
  return {
    message_id: `msg_${content}`,
    role: "user",
    status: "complete",
    content,
    parts: [...text, ...parts],
    timestamp: 0,
    metadata: {},
  };
}

const told = async (contents: Record<string, string>, ...messages: EventMessage[]) => {
  const shown = await readShown(storeOf(contents), "ses_1", messages, BOUNDS);
  return messages.map((message) => toldOf(message, shown));
};

test("a text file stands in the message between fences that nothing in it ends", async () => {
  const content = "a\n````js\nb\n````";
  expect(await told({ a: content }, says("look", file("a", content.length)))).toEqual([
    { content: `look\n\nAttached file "a.md":\n\`\`\`\`\`\n${content}\n\`\`\`\`\`` },
  ]);
  expect(await told({ a: "x\n" }, says("", file("a", 2)))).toEqual([
    { content: 'Attached file "a.md":\n```\nx\n```' },
  ]);
});

test("of one that is long it is told how much is there, and no character is cut in half", async () => {
  const content = `${"x".repeat(99)}€ and more`;
  const bytes = Buffer.byteLength(content);
  expect(await told({ a: content }, says("", file("a", bytes)))).toEqual([
    { content: `Attached file "a.md", the first 100 of ${bytes} bytes:\n\`\`\`\n${"x".repeat(99)}\n\`\`\`` },
  ]);
});

test("an image stands beside the text", async () => {
  expect(await told({ a: "pixels" }, says("look", image("a", 6)), says("", image("a", 6)))).toEqual(
    ["look", ""].map((content) => ({
      content,
      images: [
        {
          name: "a.png",
          media_type: "image/png",
          width: 300,
          height: 200,
          data: Buffer.from("pixels").toString("base64"),
        },
      ],
    })),
  );
});

test("the newest are shown while there is room, and of the others it is said that they are not", async () => {
  const x = (bytes: number): string => "x".repeat(bytes);
  const images = await told(
    { a: x(10), b: x(10), c: x(10), d: x(995) },
    says("1", image("a", 10)),
    says("2", image("b", 10)),
    says("3", image("d", 995), image("c", 10)),
  );
  expect(images.map(({ content, images: seen = [] }) => [content, seen.map(({ name }) => name)])).toEqual([
    ['1\n\n[image "a.png" not shown: only the newest 2 images are]', []],
    ["2", ["b.png"]],
    ['3\n\n[image "d.png" not shown: newer images leave no room for it]', ["c.png"]],
  ]);
  const texts = await told(
    { a: x(90), b: x(90), c: x(500) },
    says("", file("a", 90)),
    says("", file("b", 90)),
    says("", file("c", 500)),
  );
  expect(texts.map(({ content }) => content.split("\n", 1)[0])).toEqual([
    '[file "a.md" not shown: newer files leave no room for it]',
    'Attached file "b.md":',
    'Attached file "c.md", the first 100 of 500 bytes:',
  ]);
});

test("what is not there any more is named, and a file is read once", async () => {
  expect(await told({}, says("", file("a", 5), image("b", 5)))).toEqual([
    { content: '[file "a.md"]\n\n[image "b.png"]' },
  ]);
  const store = storeOf({ a: "text" });
  await readShown(store, "ses_1", [says("1", file("a", 4)), says("2", file("a", 4))], BOUNDS);
  expect(store.reads).toEqual(["a"]);
});

test("a summary has the text of files and the names of images", async () => {
  const history = [says("look", file("a", 4), image("b", 4))];
  const store = storeOf({ a: "text", b: "pixl" });
  const shown = await readShown(store, "ses_1", history, { ...BOUNDS, shown_images: 0 });
  const summary = summaryOf({ summary: null, history, shown }, { run_id: "", waiting: new Set() });
  const asked = summary?.messages.at(-1)?.content ?? "";
  expect(asked).toContain('Attached file \\"a.md\\"');
  expect(asked).toContain('[image \\"b.png\\"]');
  expect(asked).not.toContain(Buffer.from("pixl").toString("base64"));
});

test("an image weighs by its size, and goes with its message", () => {
  const history = [says("old", image("a", 4)), says("new", image("b", 4))];
  const shown = new Map(["a", "b"].map((id) => [id, { kind: "image", data: "x" }] as const));
  const messages = contextOf(
    { summary: null, history, shown },
    { run_id: "", waiting: new Set(), system_prompt: "" },
  );
  // 4 for the message, 1 for its text, 100 for 60,000 pixels.
  expect(tokensOf(messages)).toBe(210);
  expect(withinWindow(messages, 209)).toEqual(messages.slice(1));
  const [first] = messages;
  if (first?.role !== "user" || first.images?.[0] === undefined) throw new Error("no image is shown");
  const huge = { ...first, images: [{ ...first.images[0], width: 8_000, height: 8_000 }] };
  expect(tokensOf([huge])).toBe(1_705);
});
