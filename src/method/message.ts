import type { AttachmentRow } from "../core/attachment.ts";
import { noAttachment, partOf } from "../core/attachment.ts";
import type { NewEvent, RowChange } from "../core/operation.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodDeps } from "./deps.ts";

/** What somebody says. */
export interface Told {
  readonly content: string;
  readonly files: readonly AttachmentRow[];
  /** JSON text. */
  readonly metadata: string;
}

export interface WholeMessage extends Told {
  readonly message_id: string;
  readonly role: "user" | "assistant" | "system";
  readonly run_id: string | null;
  readonly timestamp: number;
}

/**
 * The uploads of a user that a message names, in its order.
 * @throws GatewayError TOO_LARGE, NOT_FOUND where one is not theirs, is not there, or has expired
 */
export async function namedFiles(
  { store, limits }: Pick<MethodDeps, "store" | "limits">,
  user: string,
  attachment_ids: readonly string[] = [],
): Promise<AttachmentRow[]> {
  if (attachment_ids.length === 0) return [];
  const limit = limits.attachments_per_message;
  if (attachment_ids.length > limit) {
    throw new GatewayError(
      "TOO_LARGE",
      `a message may have ${limit} attachments (limits.attachments_per_message): send more messages`,
      { details: { kind: "attachments" }, limit: { what: "attachments_per_message", limit } },
    );
  }
  const found = await store.uploads(user, attachment_ids);
  return attachment_ids.map((id) => {
    const file = found.find(({ attachment_id }) => attachment_id === id);
    if (file === undefined) throw noAttachment();
    return file;
  });
}

/** @throws GatewayError INVALID_REQUEST for a message of nothing */
export function requireSomething(field: string, content: string, files: readonly unknown[]): void {
  if (content !== "" || files.length > 0) return;
  throw new GatewayError("INVALID_REQUEST", `${field}: say something, or attach a file`, {
    details: { kind: "schema", path: field },
    http: 422,
  });
}

/** A message that is complete at once: its event and its rows. `user` says it: the files are theirs. */
export function addMessage(
  message: WholeMessage,
  at: { at: number; run_id: string | null; user: string },
  events: NewEvent[],
  rows: RowChange[],
): void {
  const { message_id, role, content, files, run_id, timestamp } = message;
  const said = content === "" ? [] : [{ type: "text", text: content }];
  const data = JSON.stringify({
    message_id,
    role,
    status: "complete",
    content,
    parts: [...said, ...files.map((file) => partOf(file))],
    ...(run_id !== null && { run_id }),
    timestamp,
    metadata: JSON.parse(message.metadata) as unknown,
  });
  events.push({ type: "message.created", ts: at.at, run_id: at.run_id, payload: `{"message":${data}}` });
  rows.push({
    kind: "message.put",
    event: events.length - 1,
    message_id,
    role,
    status: "complete",
    run_id,
    data,
  });
  if (files.length === 0) return;
  const attachment_ids = files.map(({ attachment_id }) => attachment_id);
  rows.push({ kind: "attachment.use", user: at.user, attachment_ids, at: at.at });
}
