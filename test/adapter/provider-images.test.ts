import { expect, test } from "bun:test";
import type { ModelMessage } from "../../src/core/ports.ts";
import { createDemoProvider } from "../../src/provider/demo.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect } from "./provider.conformance.ts";
import { hello, instantClock, openAiOptions } from "./provider.support.ts";

const IMAGE = { name: "cat.png", media_type: "image/png", width: 4, height: 3, data: "cGl4ZWxz" };
const messages: ModelMessage[] = [
  {
    role: "user",
    content: "what is it?",
    images: [IMAGE, { ...IMAGE, name: "dog.jpg", media_type: "image/jpeg" }],
  },
  { role: "user", content: "", images: [IMAGE] },
  { role: "user", content: "plain" },
];

async function sentBy(images?: boolean): Promise<unknown> {
  await using model = await startModelServer();
  const options = openAiOptions(model.url(), images === undefined ? {} : { images });
  await collect(createOpenAiProvider(options), { ...hello, messages });
  return model.requests[0]?.body.messages;
}

test("images are sent as data URLs, behind the text", async () => {
  const url = (type: string): object => ({
    type: "image_url",
    image_url: { url: `data:${type};base64,cGl4ZWxz` },
  });
  expect(await sentBy()).toEqual([
    { role: "user", content: [{ type: "text", text: "what is it?" }, url("image/png"), url("image/jpeg")] },
    { role: "user", content: [url("image/png")] },
    { role: "user", content: "plain" },
  ]);
});

test("a model that takes none is told that there are some", async () => {
  expect(await sentBy(false)).toEqual([
    {
      role: "user",
      content:
        'what is it?\n\n[image "cat.png" not shown: test-model takes no images]\n\n' +
        '[image "dog.jpg" not shown: test-model takes no images]',
    },
    { role: "user", content: '[image "cat.png" not shown: test-model takes no images]' },
    { role: "user", content: "plain" },
  ]);
});

test("the demo model says that it sees none", async () => {
  const provider = createDemoProvider({ clock: instantClock() });
  const events = await collect(provider, { ...hello, messages: messages.slice(0, 1) });
  const text = events.flatMap((event) => (event.type === "text" ? [event.text] : [])).join("");
  expect(text).toContain('[image "cat.png" not shown: the demo model takes no images]');
});
