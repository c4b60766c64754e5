import type { AttachmentRow, Files, OpenFile } from "../core/attachment.ts";
import { noAttachment, partOf } from "../core/attachment.ts";
import type { Caller } from "../core/call.ts";
import { fileName } from "../core/file-name.ts";
import { newId } from "../core/id.ts";
import type { Limits } from "../core/limits.ts";
import type { Media } from "../core/media.ts";
import type { Principal } from "../core/principal.ts";
import type { Rates } from "../core/rates.ts";
import type { SessionRef } from "../core/session.ts";
import { Slots } from "../core/slots.ts";
import type { Attachment } from "../protocol/api/attachment.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";
import type { MethodDeps } from "./deps.ts";
import { FilePlaces } from "./file-places.ts";
import { Receipt } from "./receipt.ts";

export interface FilesDeps extends Pick<
  MethodDeps,
  "store" | "journal" | "directory" | "clock" | "limits" | "reads"
> {
  readonly isLive: (principal: Principal) => boolean;
  readonly rates: Pick<Rates, "count">;
  /** The gateway stops: nothing new is begun. */
  readonly draining: () => boolean;
}

/** Files: no methods, because their content is no JSON; what holds for methods holds for them. */
export function createFiles(deps: FilesDeps): Files {
  const { limits } = deps;
  const coming = {
    limits,
    each: "uploads_per_user",
    all: "uploads",
    kind: "uploads",
    what: "received",
  } as const;
  const going = { limits, each: "downloads_per_user", kind: "downloads", what: "sent" } as const;
  const places = new FilePlaces(coming);
  const out = new FilePlaces(going);
  const turns = new Slots(1);
  const newReceipt = (caller: Caller): Receipt =>
    new Receipt({ ...deps, turns, requireLive: () => requireLive(deps, caller) }, caller.principal.user);
  return {
    receive: (caller, said, content) => receive(deps, { places, newReceipt }, caller, said, content),
    open: (caller, session_id, attachment_id) => open(deps, out, caller, session_id, attachment_id),
  };
}

interface Receiving {
  readonly places: FilePlaces;
  readonly newReceipt: (caller: Caller) => Receipt;
}

async function receive(
  deps: FilesDeps,
  { places, newReceipt }: Receiving,
  caller: Caller,
  said: string,
  content: AsyncIterable<Uint8Array>,
): Promise<Attachment> {
  admit(deps, caller, "chat.write");
  if (deps.draining()) throw stopping();
  const leave = places.take(caller.principal.user);
  const receipt = newReceipt(caller);
  try {
    for await (const chunk of content) await receipt.push(chunk);
    const name = fileName(said);
    const media = receipt.media(name);
    checkPixels(media, deps.limits);
    const now = deps.clock.now();
    const file: AttachmentRow = {
      attachment_id: newId("att", now),
      name,
      media_type: media.media_type,
      width: media.size?.width ?? null,
      height: media.size?.height ?? null,
      bytes: receipt.bytes,
      sha256: receipt.sha256(),
    };
    const expires_at = now + deps.limits.upload_ttl_secs * 1_000;
    await receipt.done(file, expires_at);
    return { ...partOf(file), sha256: file.sha256, expires_at } as Attachment;
  } catch (error) {
    receipt.drop();
    throw error;
  } finally {
    leave();
  }
}

async function open(
  deps: FilesDeps,
  places: FilePlaces,
  caller: Caller,
  session_id: string,
  attachment_id: string,
): Promise<OpenFile> {
  requireScope(caller, "chat.read");
  requireLive(deps, caller);
  const { user } = caller.principal;
  const session = await deps.directory.find(user, session_id, "read");
  const file = await deps.store.attachment(session.id, attachment_id);
  deps.directory.require(session, user, "read");
  if (file === null) throw noAttachment();
  return { file, content: () => sent(places, user, pieces(deps, caller, session, file)) };
}

/** Whoever reads slowly has a piece of it in memory meanwhile: so many of one user at once. */
async function* sent(
  places: FilePlaces,
  user: string,
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const leave = places.take(user);
  try {
    yield* content;
  } finally {
    leave();
  }
}

async function* pieces(
  deps: FilesDeps,
  caller: Caller,
  session: SessionRef,
  { attachment_id, bytes }: AttachmentRow,
): AsyncGenerator<Uint8Array> {
  let sent = 0;
  for (let n = 0; sent < bytes; n++) {
    const at = n;
    const piece = await deps.reads.use(() => deps.store.piece(session.id, attachment_id, at));
    // What was taken back or deleted while it was read is not read to its end.
    deps.directory.require(session, caller.principal.user, "read");
    requireLive(deps, caller);
    if (piece === null) throw noAttachment();
    sent += piece.length;
    yield piece;
  }
}

function admit(deps: FilesDeps, caller: Caller, scope: Scope): void {
  requireLive(deps, caller);
  const tooFast = deps.rates.count(caller);
  if (tooFast !== null) throw tooFast.refused;
  requireScope(caller, scope);
}

function requireLive({ isLive }: FilesDeps, { principal }: Caller): void {
  if (isLive(principal)) return;
  throw new GatewayError("UNAUTHORIZED", "the credential of this request was revoked or has expired");
}

function requireScope({ principal }: Caller, scope: Scope): void {
  if (principal.scopes.has(scope)) return;
  throw new GatewayError("FORBIDDEN", `this needs the scope ${scope}`, { details: { kind: "scope", scope } });
}

function checkPixels({ size }: Media, { attachment_pixels: limit }: Limits): void {
  if (size === null || size.width * size.height <= limit) return;
  throw new GatewayError(
    "TOO_LARGE",
    `the image has ${size.width} × ${size.height} pixels, more than ${limit} (limits.attachment_pixels): make it smaller`,
    { details: { kind: "attachment" }, limit: { what: "attachment_pixels", limit } },
  );
}

function stopping(): GatewayError {
  return new GatewayError("UNAVAILABLE", "the gateway is stopping; nothing was done", {
    details: { kind: "draining" },
    retry_after_ms: 1_000,
  });
}
