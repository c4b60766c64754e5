import type { ChatCompletionUserMessageParam } from "openai/resources/chat/completions";
import type { ModelMessage } from "../core/ports.ts";
import { notShown } from "../core/shown.ts";

type UserMessage = Extract<ModelMessage, { role: "user" }>;

/** A message as text alone, for a model that takes no images: it is told that there are some. */
export function withoutImages({ content, images = [] }: UserMessage, model: string): string {
  const notes = images.map(({ name }) => notShown({ name }, `${model} takes no images`));
  return [content, ...notes].filter((each) => each !== "").join("\n\n");
}

/** A message as the API takes it, its images as data URLs behind its text: nothing is fetched from us. */
export function userParam(message: UserMessage): ChatCompletionUserMessageParam {
  const { role, content, images = [] } = message;
  if (images.length === 0) return { role, content };
  const seen = images.map(
    ({ media_type, data }) =>
      ({ type: "image_url", image_url: { url: `data:${media_type};base64,${data}` } }) as const,
  );
  return { role, content: [...(content === "" ? [] : [{ type: "text", text: content } as const]), ...seen] };
}
