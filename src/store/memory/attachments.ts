import type { AttachmentChange, AttachmentRow } from "../../core/attachment.ts";
import type { Limits } from "../../core/limits.ts";
import type { ItemResult } from "../../core/operation.ts";
import type { MemoryFile, MemorySession, MemoryState, Undo } from "./state.ts";
import { liveSession } from "./state.ts";

type Refused = Extract<ItemResult, { ok: false }>;

/** What a user holds: every file counts, and a content once. */
function held(state: MemoryState, user: string): { files: number; contents: Map<string, number> } {
  const files = [
    ...[...state.uploads.values()].filter((upload) => upload.user === user),
    ...[...state.sessions.values()]
      .filter(({ row }) => row.owner === user)
      .flatMap(({ files: kept }) => [...kept.values()]),
  ];
  const receiving = [...state.receiving].filter(([, upload]) => upload.user === user);
  const contents = new Map([
    ...files.map(({ row }) => [row.sha256, row.bytes] as const),
    ...receiving.map(([id, { pieces }]) => [id, lengthOf(pieces)] as const),
  ]);
  return { files: files.length + receiving.length, contents };
}

function lengthOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

function check(
  state: MemoryState,
  limits: Limits,
  user: string,
  files: readonly { readonly content: string; readonly bytes: number }[],
  count = files.length,
): Refused | null {
  const now = held(state, user);
  if (now.files + count > limits.attachments_per_user)
    return { ok: false, reason: "full", what: "attachments_per_user" };
  let bytes = [...now.contents.values()].reduce((sum, each) => sum + each, 0);
  for (const file of new Map(files.map((each) => [each.content, each])).values()) {
    if (!now.contents.has(file.content)) bytes += file.bytes;
  }
  return bytes > limits.attachment_bytes_per_user
    ? { ok: false, reason: "full", what: "attachment_bytes_per_user" }
    : null;
}

export function changeUpload(
  state: MemoryState,
  limits: Limits,
  row: Exclude<AttachmentChange, { kind: "attachment.use" }>,
  undo: Undo,
): Refused | null {
  const { upload_id } = row;
  const before = state.receiving.get(upload_id);
  undo.push(() => {
    if (before === undefined) state.receiving.delete(upload_id);
    else state.receiving.set(upload_id, before);
  });
  if (row.kind === "upload.piece") {
    const { user, n, expires_at } = row;
    if ((before?.pieces.length ?? 0) !== n) return { ok: false, reason: "unknown" };
    const piece = new Uint8Array(Buffer.from(row.data, "base64"));
    const more = { content: `a piece of ${upload_id}`, bytes: piece.length };
    const full = check(state, limits, user, [more], n === 0 ? 1 : 0);
    if (full !== null) return full;
    const pieces = [...(before?.pieces ?? []), piece];
    state.receiving.set(upload_id, { user, pieces, expires_at: before?.expires_at ?? expires_at });
    return null;
  }
  state.receiving.delete(upload_id);
  if (row.kind === "upload.drop") return null;
  const { attachment, expires_at } = row;
  if (before === undefined || lengthOf(before.pieces) !== attachment.bytes) {
    return { ok: false, reason: "unknown" };
  }
  const { user, pieces } = before;
  state.uploads.set(attachment.attachment_id, { row: attachment, pieces, user, expires_at });
  undo.push(() => state.uploads.delete(attachment.attachment_id));
  return null;
}

export function useUploads(
  state: MemoryState,
  limits: Limits,
  session: MemorySession,
  row: Extract<AttachmentChange, { kind: "attachment.use" }>,
  undo: Undo,
): Refused | null {
  for (const attachment_id of row.attachment_ids) {
    const upload = state.uploads.get(attachment_id);
    if (upload?.user !== row.user || upload.expires_at <= row.at) return { ok: false, reason: "attachment" };
    if (session.files.has(attachment_id)) continue;
    const { sha256: content, bytes } = upload.row;
    const full = check(state, limits, session.row.owner, [{ content, bytes }]);
    if (full !== null) return full;
    session.files.set(attachment_id, { row: upload.row, pieces: upload.pieces });
    undo.push(() => session.files.delete(attachment_id));
  }
  return null;
}

/** Null where the owner of a copy may hold what the messages copied may name. */
export function checkCopy(
  state: MemoryState,
  limits: Limits,
  from: MemorySession,
  owner: string,
): Refused | null {
  const files = [...from.files.values()].map(({ row }) => ({ content: row.sha256, bytes: row.bytes }));
  return files.length === 0 ? null : check(state, limits, owner, files);
}

export function copyFiles(from: MemorySession, into: MemorySession, attachment_ids: readonly string[]): void {
  for (const attachment_id of attachment_ids) {
    const file = from.files.get(attachment_id);
    if (file !== undefined) into.files.set(attachment_id, file);
  }
}

export function expireUploads(state: MemoryState, now: number): number {
  let erased = 0;
  for (const map of [state.uploads, state.receiving]) {
    for (const [id, { expires_at }] of map) if (expires_at <= now && map.delete(id)) erased++;
  }
  return erased;
}

export function forgetUploads(state: MemoryState, user: string): void {
  for (const map of [state.uploads, state.receiving]) {
    for (const [id, upload] of map) if (upload.user === user) map.delete(id);
  }
}

export function uploadsOf(
  state: MemoryState,
  user: string,
  attachment_ids: readonly string[],
  now: number,
): AttachmentRow[] {
  return attachment_ids.flatMap((id) => {
    const upload = state.uploads.get(id);
    return upload?.user === user && upload.expires_at > now ? [upload.row] : [];
  });
}

export function fileOf(state: MemoryState, session: string, attachment_id: string): MemoryFile | null {
  return liveSession(state, session)?.files.get(attachment_id) ?? null;
}
