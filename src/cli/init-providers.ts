import type { Endpoint } from "../core/endpoint.ts";
import { headersOf, urlOf } from "../core/endpoint.ts";
import { CommandError } from "./exit.ts";

/** What is known of a provider by its name. */
export interface KnownProvider {
  /** "": every customer has one of their own. */
  readonly base_url: string;
  readonly api_key_header?: string;
}

/** Well-known providers; any other OpenAI-compatible one is named with its base URL. */
export const KNOWN_PROVIDERS: Readonly<Record<string, KnownProvider>> = {
  openai: { base_url: "https://api.openai.com/v1" },
  openrouter: { base_url: "https://openrouter.ai/api/v1" },
  azure: { base_url: "", api_key_header: "api-key" },
  anthropic: { base_url: "https://api.anthropic.com/v1" },
  gemini: { base_url: "https://generativelanguage.googleapis.com/v1beta/openai" },
  groq: { base_url: "https://api.groq.com/openai/v1" },
  mistral: { base_url: "https://api.mistral.ai/v1" },
  deepseek: { base_url: "https://api.deepseek.com/v1" },
  ollama: { base_url: "http://127.0.0.1:11434/v1" },
  vllm: { base_url: "http://127.0.0.1:8000/v1" },
  llamacpp: { base_url: "http://127.0.0.1:8080/v1" },
  lmstudio: { base_url: "http://127.0.0.1:1234/v1" },
};

export interface Upstream extends Endpoint {
  /** "" for none. */
  readonly api_key: string;
}

const MODELS_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 60_000;

/** Ids of the models it offers; empty where it does not say. @throws CommandError where it cannot be reached or refuses the key */
export async function listModels(upstream: Upstream): Promise<string[]> {
  const response = await ask(upstream, urlOf(upstream, "/models", ""), null, MODELS_TIMEOUT_MS);
  if (!response.ok) {
    await response.body?.cancel();
    return [];
  }
  const { data } = (await response.json().catch(() => ({}))) as { data?: { id?: unknown }[] };
  return Array.isArray(data) ? data.map(({ id }) => String(id)) : [];
}

/** One short question. Resolves with the answer. @throws CommandError that says what is wrong */
export async function tryModel(upstream: Upstream, model: string): Promise<string> {
  const body = { model, messages: [{ role: "user", content: "Answer with the single word: ready" }] };
  const url = urlOf(upstream, "/chat/completions", model);
  const response = await ask(upstream, url, body, CALL_TIMEOUT_MS);
  const text = await response.text();
  if (!response.ok)
    throw new CommandError(`${model} answers with an error (HTTP ${response.status}): ${reasonIn(text)}`);
  const content = contentIn(text);
  if (content === null)
    throw new CommandError(`${upstream.base_url} does not answer like an OpenAI-compatible server`);
  return content;
}

async function ask(upstream: Upstream, url: string, body: unknown, timeout_ms: number): Promise<Response> {
  const { base_url, api_key } = upstream;
  let response: Response;
  try {
    response = await fetch(url, {
      method: body === null ? "GET" : "POST",
      headers: {
        ...headersOf(upstream, api_key),
        ...(body !== null && { "content-type": "application/json" }),
      },
      ...(body !== null && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeout_ms),
    });
  } catch (error) {
    throw new CommandError(`${base_url} cannot be reached: ${(error as Error).message}`);
  }
  if (response.status !== 401 && response.status !== 403) return response;
  const why = reasonIn(await response.text());
  throw new CommandError(`${base_url} refuses the API key (HTTP ${response.status}): ${why}`);
}

function contentIn(text: string): string | null {
  const answer = parse(text) as { choices?: { message?: { content?: unknown } }[] } | null;
  const message = answer?.choices?.[0]?.message;
  return message === undefined ? null : String(message.content ?? "");
}

function reasonIn(text: string): string {
  const { error } = (parse(text) ?? {}) as { error?: { message?: unknown } | string };
  const reason = typeof error === "string" ? error : error?.message;
  return String(reason ?? (text.trim() || "no reason given")).slice(0, 300);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
