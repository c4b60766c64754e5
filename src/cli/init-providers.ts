import { CommandError } from "./exit.ts";

/** Where well-known providers are; any other OpenAI-compatible one is named with its base URL. */
export const KNOWN_PROVIDERS: Readonly<Record<string, string>> = {
  openai: "https://api.openai.com/v1",
  openrouter: "https://openrouter.ai/api/v1",
  groq: "https://api.groq.com/openai/v1",
  mistral: "https://api.mistral.ai/v1",
  deepseek: "https://api.deepseek.com/v1",
  ollama: "http://127.0.0.1:11434/v1",
};

export interface Upstream {
  readonly base_url: string;
  /** "" for none. */
  readonly api_key: string;
}

const MODELS_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 60_000;

/** Ids of the models it offers; empty where it does not say. @throws CommandError where it cannot be reached or refuses the key */
export async function listModels(upstream: Upstream): Promise<string[]> {
  const response = await ask(upstream, "/models", null, MODELS_TIMEOUT_MS);
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
  const response = await ask(upstream, "/chat/completions", body, CALL_TIMEOUT_MS);
  const text = await response.text();
  if (!response.ok)
    throw new CommandError(`${model} answers with an error (HTTP ${response.status}): ${reasonIn(text)}`);
  const content = contentIn(text);
  if (content === null)
    throw new CommandError(`${upstream.base_url} does not answer like an OpenAI-compatible server`);
  return content;
}

async function ask(
  { base_url, api_key }: Upstream,
  path: string,
  body: unknown,
  timeout_ms: number,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(base_url.replace(/\/+$/, "") + path, {
      method: body === null ? "GET" : "POST",
      headers: {
        ...(api_key !== "" && { authorization: `Bearer ${api_key}` }),
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
