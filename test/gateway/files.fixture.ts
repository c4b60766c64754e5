import { RefusedRequest } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";

export interface UploadOptions {
  readonly name?: string;
  readonly type?: string;
}

/** An upload and its answer, whatever it is. */
export function send(
  { gateway }: Pick<Stack, "gateway">,
  { bearer }: Pick<Person, "bearer">,
  content: Uint8Array<ArrayBuffer> | string | FormData | ReadableStream,
  { name, type }: UploadOptions = {},
): Promise<Response> {
  const query = name === undefined ? "" : `?name=${encodeURIComponent(name)}`;
  return fetch(`${gateway.url}/api/v1/attachments${query}`, {
    method: "POST",
    headers: { ...bearer, ...(type !== undefined && { "content-type": type }) },
    body: content,
  });
}

/** An upload that is taken. Rejects with RefusedRequest. */
export async function upload(
  stack: Pick<Stack, "gateway">,
  person: Pick<Person, "bearer">,
  content: Uint8Array<ArrayBuffer> | string | FormData,
  options: UploadOptions = {},
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
): Promise<any> {
  const response = await send(stack, person, content, options);
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  const json = await response.json();
  if (response.status !== 201) throw new RefusedRequest(json.error);
  return json;
}

/** A form with a file, as a browser makes it. */
export function form(content: Uint8Array<ArrayBuffer> | string, name: string, field = "file"): FormData {
  const made = new FormData();
  made.append(field, new Blob([content]), name);
  return made;
}

export function download(
  { gateway }: Pick<Stack, "gateway">,
  { bearer }: Pick<Person, "bearer">,
  session_id: string,
  attachment_id: string,
  { verb = "GET", headers = {} }: { verb?: string; headers?: Record<string, string> } = {},
): Promise<Response> {
  const path = `/api/v1/sessions/${session_id}/attachments/${attachment_id}`;
  return fetch(`${gateway.url}${path}`, { method: verb, headers: { ...bearer, ...headers } });
}
