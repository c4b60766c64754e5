import type { EventMessage, Part } from "../protocol/entities.ts";
import type { Limits } from "./limits.ts";
import type { ModelImage } from "./ports.ts";
import type { Store } from "./store.ts";

type FilePart = Extract<Part, { type: "image" | "file" }>;

/** What a model is shown of a file, or why it is not. */
type ShownFile =
  | { readonly kind: "text"; readonly text: string; readonly bytes: number }
  /** base64 */
  | { readonly kind: "image"; readonly data: string }
  | { readonly kind: "left"; readonly why: string };

/** By attachment_id. What is not in it is only named. */
export type Shown = ReadonlyMap<string, ShownFile>;

type Bounds = Pick<Limits, "shown_file_bytes" | "shown_files_bytes" | "shown_images" | "shown_images_bytes">;

/** What a message tells a model, with its files: text among what is said, images beside it. */
export function toldOf(
  { content, parts = [] }: EventMessage,
  shown: Shown,
): { readonly content: string; readonly images?: readonly ModelImage[] } {
  const files = parts.filter((part) => isFile(part));
  if (files.length === 0) return { content };
  const images: ModelImage[] = [];
  const said = content === "" ? [] : [content];
  for (const file of files) {
    const found = shown.get(file.attachment_id);
    if (found?.kind === "text") said.push(block(file, found));
    else if (found?.kind === "image" && file.type === "image") {
      const { name, media_type, width, height } = file;
      images.push({ name, media_type, width, height, data: found.data });
    } else said.push(notShown(file, found?.kind === "left" ? found.why : ""));
  }
  return { content: said.join("\n\n"), ...(images.length > 0 && { images }) };
}

/** What stands in the place of a file that a model is not shown. */
export function notShown(
  { type = "image", name }: { readonly type?: "image" | "file"; readonly name: string },
  why: string,
): string {
  return why === "" ? `[${type} "${name}"]` : `[${type} "${name}" not shown: ${why}]`;
}

/** A file between fences that are longer than any in it. */
function block({ name, bytes }: FilePart, { text, bytes: read }: { text: string; bytes: number }): string {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map(({ length }) => length));
  const fence = "`".repeat(longest + 1);
  const part = read < bytes ? `, the first ${read} of ${bytes} bytes` : "";
  return `Attached file "${name}"${part}:\n${fence}\n${text}${text.endsWith("\n") ? "" : "\n"}${fence}`;
}

function isFile(part: Part): part is FilePart {
  return part.type === "image" || part.type === "file";
}

/** Reads what a model is to be shown of the files of messages: of the newest first, as much as the bounds allow. */
export async function readShown(
  store: Pick<Store, "piece">,
  session: string,
  messages: readonly EventMessage[],
  limits: Bounds,
): Promise<Shown> {
  const shown = new Map<string, ShownFile>();
  const left = {
    images: limits.shown_images,
    image_bytes: limits.shown_images_bytes,
    text_bytes: limits.shown_files_bytes,
  };
  const files = messages.flatMap(({ role, parts = [] }) => (role === "user" ? parts.filter(isFile) : []));
  for (const file of files.toReversed()) {
    const { attachment_id, type, bytes } = file;
    if (shown.has(attachment_id)) continue;
    const wanted = type === "image" ? bytes : Math.min(bytes, limits.shown_file_bytes);
    const why = type === "image" ? noImage(left, bytes, limits) : noText(left.text_bytes, wanted);
    if (why !== null) {
      shown.set(attachment_id, { kind: "left", why });
      continue;
    }
    const content = await read(store, session, attachment_id, wanted);
    if (content === null) continue;
    if (type === "image") {
      left.images--;
      left.image_bytes -= bytes;
      shown.set(attachment_id, { kind: "image", data: content.toString("base64") });
    } else {
      left.text_bytes -= wanted;
      shown.set(attachment_id, { kind: "text", ...textOf(content) });
    }
  }
  return shown;
}

function noImage(
  left: { readonly images: number; readonly image_bytes: number },
  bytes: number,
  { shown_images }: Bounds,
): string | null {
  if (shown_images === 0) return "";
  if (left.images === 0) return `only the newest ${shown_images} images are`;
  return bytes > left.image_bytes ? "newer images leave no room for it" : null;
}

function noText(left_bytes: number, wanted: number): string | null {
  return wanted > left_bytes ? "newer files leave no room for it" : null;
}

/** The first `bytes` of a file; null: it is not there any more. */
async function read(
  store: Pick<Store, "piece">,
  session: string,
  attachment_id: string,
  bytes: number,
): Promise<Buffer | null> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for (let n = 0; size < bytes; n++) {
    const piece = await store.piece(session, attachment_id, n);
    if (piece === null) return null;
    pieces.push(piece);
    size += piece.length;
  }
  return Buffer.concat(pieces, size).subarray(0, bytes);
}

/** Text up to the last whole character. */
function textOf(content: Buffer): { readonly text: string; readonly bytes: number } {
  const text = new TextDecoder().decode(content, { stream: true });
  return { text, bytes: content.length };
}
