import OpenAI from "openai";
import type { Endpoint } from "../core/endpoint.ts";
import { headersOf, urlOf } from "../core/endpoint.ts";
import type { ModelRequest } from "../core/ports.ts";
import { toolNames, toParam, toTool } from "./openai-tools.ts";

/**
 * Asks for a streamed completion; resolves with the response once its headers are there, rejects for any but 2xx.
 * @param key "": nothing is sent for one
 */
export type Ask = (asked: ModelRequest, key: string, signal: AbortSignal) => Promise<Response>;

/** How much of the body of a failure is read. */
const FAILURE_BODY_BYTES = 16 * 1024;
/** The SDK's own timer, which covers the headers only, is kept out of the way of ours. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** `images`: whether models are sent them, the default; those that are not are told that there are some. */
export function createAsk(endpoint: Endpoint & { readonly images?: boolean }): Ask {
  const { images = true } = endpoint;
  const client = createClient(endpoint.base_url);
  return ({ model, messages, tools = [], traceparent }, key, signal) => {
    const names = toolNames(tools);
    const body = {
      model,
      messages: messages.map((message) => toParam(message, names, { model, images })),
      ...(tools.length > 0 && { tools: tools.map((tool) => toTool(tool, names)) }),
      stream: true,
      stream_options: { include_usage: true },
    } as const;
    const headers = {
      // What the SDK would send for its own key.
      authorization: null,
      // A compressed stream comes late, and may unpack to more than any bound on what was read.
      "accept-encoding": "identity",
      ...(traceparent !== undefined && { traceparent }),
      ...headersOf(endpoint, key),
    };
    // Not `chat.completions.create`, whose path is fixed.
    const url = urlOf(endpoint, "/chat/completions", model);
    return client.post(url, { body, signal, headers, stream: true }).asResponse();
  };
}

/** No key, organization or project is taken from the environment: what is sent is what the configuration says. */
function createClient(base_url: string): OpenAI {
  return new OpenAI({
    baseURL: base_url,
    apiKey: "given per call",
    organization: null,
    project: null,
    maxRetries: 0,
    timeout: LONGEST_TIMER_MS,
    logLevel: "off",
    fetch: async (input, init) => {
      // `timeout: false`: else Bun ends a request after 300 s of silence. Redirects would carry the key elsewhere.
      const asked: BunFetchRequestInit & { timeout: false } = {
        ...(init as BunFetchRequestInit),
        timeout: false,
        redirect: "manual",
        decompress: false,
      };
      const response = await fetch(input, asked);
      return response.ok ? response : shorten(response);
    },
  });
}

/** The SDK reads the body of a failure to its end, which a hostile server need not send. */
async function shorten(response: Response): Promise<Response> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    if (text.length >= FAILURE_BODY_BYTES) break;
  }
  const { status, headers } = response;
  return new Response(status === 304 ? null : unlisted(text.slice(0, FAILURE_BODY_BYTES)), {
    status,
    headers,
  });
}

/** Gemini's errors come as a list of one, in which the SDK finds nothing. */
function unlisted(text: string): string {
  if (!text.trimStart().startsWith("[")) return text;
  try {
    const list = JSON.parse(text) as unknown;
    return Array.isArray(list) && list.length > 0 ? JSON.stringify(list[0]) : text;
  } catch {
    // It is shown as the text it is.
    return text;
  }
}
