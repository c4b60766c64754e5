/** Where an OpenAI-compatible API is and what every request to it carries. */
export interface Endpoint {
  /** `{model}` in its path stands for the model. */
  readonly base_url: string;
  /** The header the key is sent in; "": as a bearer token. */
  readonly api_key_header: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
}

const MODEL = "{model}";

/** The address of `path` (which begins with a slash). */
export function urlOf({ base_url, query }: Endpoint, path: string, model: string): string {
  const url = new URL(base_url.replaceAll(MODEL, encodeURIComponent(model)));
  url.pathname = url.pathname.replace(/\/+$/, "") + path;
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url.href;
}

/** @param key "": none is sent */
export function headersOf({ api_key_header, headers }: Endpoint, key: string): Record<string, string> {
  if (key === "") return { ...headers };
  const name = api_key_header === "" ? "authorization" : api_key_header;
  return { [name]: api_key_header === "" ? `Bearer ${key}` : key, ...headers };
}
