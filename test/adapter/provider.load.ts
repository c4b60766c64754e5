import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { collect, requestOf } from "./provider.conformance.ts";
import { openAiOptions } from "./provider.support.ts";

/** A process of its own that keeps so many streams open: `bun provider.load.ts <base_url> <streams>`. */
const [base_url = "", streams = ""] = process.argv.slice(2);
const provider = createOpenAiProvider(openAiOptions(base_url));
await Promise.all(
  Array.from({ length: Number(streams) }, () => collect(provider, requestOf("test-model", "hello"))),
);
