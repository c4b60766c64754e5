import { CommandError } from "./exit.ts";

/** One call of the REST surface, as it can be typed. */
export interface RestCall {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  /** Without a credential. */
  readonly open?: boolean;
  readonly body?: Record<string, unknown>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The line that makes this call from a shell; the token is a variable there. */
export function curlLine(base_url: string, { method, path, open, body, headers }: RestCall): string {
  const words = ["curl"];
  if (method !== "GET" && !(method === "POST" && body !== undefined)) words.push("-X", method);
  if (headers?.["Accept"] === "text/event-stream") words.push("-N");
  if (open !== true) words.push("-H", '"Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(headers ?? {})) words.push("-H", `'${name}: ${value}'`);
  if (body !== undefined)
    words.push("-H", "'Content-Type: application/json'", "-d", `'${JSON.stringify(body)}'`);
  return [...words, `'${base_url}${path}'`].join(" ");
}

/** Makes the call. @throws CommandError where the answer is not `status` */
export async function callRest(
  base_url: string,
  token: string,
  call: RestCall,
  status: number,
): Promise<Response> {
  const { method, path, open, body, headers } = call;
  const response = await fetch(base_url + path, {
    method,
    headers: {
      ...headers,
      ...(open !== true && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  });
  if (response.status === status) return response;
  throw new CommandError(
    `${method} ${path} answered ${response.status}, not ${status}: ${await response.text()}`,
  );
}

/** The `data` of the events of an event stream that has ended, leaving out the opening, the signals and the end. */
export function loggedEvents(stream: string): string[] {
  const blocks = stream.split("\n\n").map((block) => block.split("\n"));
  const field = (block: string[], name: string): string | undefined =>
    block.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const events = blocks.filter(
    (block) => field(block, "id") !== undefined && !isOpening(field(block, "event")),
  );
  return events.map((block) => field(block, "data") ?? "");
}

function isOpening(event: string | undefined): boolean {
  return event === "session.resumed" || event === "session.snapshot" || event === "session.reset";
}
