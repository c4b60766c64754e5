import { Type } from "@sinclair/typebox";
import type { OpenFile } from "../core/attachment.ts";
import { isImage } from "../core/media.ts";
import { Attachment } from "../protocol/api/attachment.ts";
import { GatewayError } from "../protocol/errors.ts";
import { Id, SessionId } from "../protocol/schema.ts";
import type { TransportContext } from "./context.ts";
import { disposition } from "./disposition.ts";
import { boundaryOf, fileIn } from "./multipart.ts";
import { pathParameter } from "./rest.ts";
import { authenticate, callerOf } from "./rest-guard.ts";
import { onlyParameters } from "./rest-input.ts";
import { answers, parameter, SECURED } from "./rest-openapi.ts";
import type { HttpRoute, Operation, Visit } from "./rest-reply.ts";
import { json } from "./rest-reply.ts";
import { forgiving, uploadedBytes } from "./upload-body.ts";

const PATH = "/api/v1/attachments";
const ONE = "/api/v1/sessions/:id/attachments/:attachment_id";
const NAME_CHARS = 1_024;
/** An upload that waits for nothing but storage. */
const QUIET_SECS = 120;

/** Files come in as they are and go out as they came: no method could carry them. */
export function fileRoutes(context: TransportContext): HttpRoute[] {
  return [
    { verb: "POST", path: PATH, describe: () => UPLOAD, handle: (visit) => upload(context, visit) },
    { verb: "GET", path: ONE, describe: () => DOWNLOAD, handle: (visit) => download(context, visit) },
  ];
}

const BINARY = { schema: { type: "string", format: "binary" } };

const UPLOAD: Operation = {
  summary: "Takes a file in: an image (PNG, JPEG, GIF, WebP) or text in UTF-8.",
  description:
    "The body is the file, or a form with one. What it is is read from its content. Name its attachment_id in " +
    "`attachments` of a message before it expires. Needs the scope `chat.write`.",
  tags: ["attachments"],
  security: SECURED,
  "x-scope": "chat.write",
  parameters: [parameter("query", "name", { type: "string" }, false, "its name, where the body is the file")],
  requestBody: {
    required: true,
    content: {
      "application/octet-stream": BINARY,
      "multipart/form-data": { schema: { type: "object", properties: { file: BINARY.schema } } },
    },
  },
  responses: answers(201, "The upload", Attachment),
};

const DOWNLOAD: Operation = {
  summary: "A file that a message of the session names.",
  description: "Images may be shown in place; everything else is to be saved. Needs the scope `chat.read`.",
  tags: ["attachments"],
  security: SECURED,
  "x-scope": "chat.read",
  parameters: [
    parameter("path", "id", SessionId, true),
    parameter("path", "attachment_id", Id, true),
    parameter("header", "If-None-Match", { type: "string" }, false, "304 where it is the same"),
  ],
  responses: {
    ...answers(200, "", Type.Object({})),
    200: { description: "The file", content: { "*/*": BINARY } },
  },
};

async function upload(context: TransportContext, visit: Visit): Promise<Response> {
  const { request, url } = visit;
  const caller = callerOf(visit, await authenticate(context, visit, "rest"));
  onlyParameters(url.searchParams, ["name"]);
  const name = url.searchParams.get("name");
  if (name !== null && name.length > NAME_CHARS) {
    throw new GatewayError("INVALID_REQUEST", `?name= may have ${NAME_CHARS} characters`, {
      details: { kind: "schema", path: "name" },
    });
  }
  visit.server.timeout(request, QUIET_SECS);
  const body = uploadedBytes(context, request);
  const { content, readOn } = forgiving(body);
  try {
    const boundary = boundaryOf(request.headers.get("content-type") ?? "");
    const file = boundary === null ? { name: "", content } : await fileIn(content, boundary);
    return json(201, await context.files.receive(caller, name ?? file.name, file.content));
  } catch (error) {
    await readOn();
    throw error;
  } finally {
    await body.return();
  }
}

async function download(context: TransportContext, visit: Visit): Promise<Response> {
  const { request, url } = visit;
  const caller = callerOf(visit, await authenticate(context, visit, "rest"));
  onlyParameters(url.searchParams, []);
  const session_id = pathParameter(visit, "id");
  const opened = await context.files.open(caller, session_id, pathParameter(visit, "attachment_id"));
  const headers = headersOf(opened);
  const known = (request.headers.get("if-none-match") ?? "").split(",").map((tag) => tag.trim());
  if (known.includes(headers["etag"] ?? "")) return new Response(null, { status: 304, headers });
  if (request.method === "HEAD") return new Response(null, { headers });
  return new Response(await bodyOf(opened, visit), { headers });
}

/** Whatever is in it, no browser runs any of it, nor takes it for something else than it is said to be. */
function headersOf({ file }: OpenFile): Record<string, string> {
  const { media_type, name, sha256, bytes } = file;
  const shown = isImage(media_type);
  return {
    "content-type": shown ? media_type : `${media_type}; charset=utf-8`,
    "content-length": String(bytes),
    "content-disposition": disposition(shown ? "inline" : "attachment", name),
    "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    etag: `"${sha256}"`,
    // Asked for again each time, so that who may not read it any more does not.
    "cache-control": "private, no-cache",
  };
}

/** Read as it is taken, to the last piece: a reader that is slow costs one, and a place. */
async function bodyOf({ content }: OpenFile, visit: Visit): Promise<ReadableStream<Uint8Array> | null> {
  const pieces = content()[Symbol.asyncIterator]();
  const letGo = async (): Promise<void> => void (await pieces.return?.());
  const first = await pieces.next();
  if (first.done === true) return null;
  const { signal } = visit.request;
  // Who is gone before the answer begins does not cancel it.
  signal.addEventListener("abort", () => void letGo());
  if (signal.aborted) await letGo();
  return new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(first.value),
    async pull(controller) {
      const next = await pieces.next().catch(() => null);
      if (next === null) return cutOff(visit);
      if (next.done === true) controller.close();
      else controller.enqueue(next.value);
      return undefined;
    },
    cancel: letGo,
  });
}

/**
 * What may not be read to its end ends without the mark that a whole answer has: the connection is closed. (An error in
 * the stream does so too, but Bun prints it.)
 */
function cutOff({ server, request }: Visit): Promise<void> {
  server.timeout(request, 1);
  return new Promise(() => undefined);
}
