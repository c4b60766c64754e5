import type { Static } from "@sinclair/typebox";
import { partOf } from "../core/attachment.ts";
import { newId } from "../core/id.ts";
import { contentOf } from "../core/message.ts";
import type { NewEvent, RowChange } from "../core/operation.ts";
import { wellFormedJson } from "../core/text.ts";
import type { sessionImport } from "../protocol/api/import.ts";
import type { Part } from "../protocol/entities.ts";
import type { MethodDeps } from "./deps.ts";
import { namedFiles } from "./message.ts";
import { bounded, boundedJson } from "./text.ts";

type Given = NonNullable<Static<typeof sessionImport.params>["messages"]>[number];

/** A message of another time and place, as one that is complete at once. @throws GatewayError */
export async function importedMessage(
  deps: MethodDeps,
  user: string,
  given: Given,
): Promise<{ events: NewEvent[]; rows: RowChange[] }> {
  const { limits, clock } = deps;
  const { role, status, model, usage, timestamp } = given;
  const { parts, attachment_ids } = await partsOf(deps, user, given);
  const isWhole = role === "tool" || parts.length > 0;
  const content = bounded(
    role === "tool" || !isWhole ? given.content : contentOf(parts),
    "assistant_bytes",
    limits,
  );
  const said: Part[] = isWhole || content === "" ? parts : [{ type: "text", text: content }];
  const now = clock.now();
  const message_id = given.message_id ?? newId("msg", now);
  const metadata = JSON.parse(boundedJson(given.metadata, "metadata_bytes", limits)) as unknown;
  const about = { ...(model !== undefined && { model }), ...(usage !== undefined && { usage }) };
  const data = wellFormedJson(
    JSON.stringify({ message_id, role, status, content, parts: said, ...about, timestamp, metadata }),
  );
  const event = { type: "message.created", ts: now, run_id: null, payload: `{"message":${data}}` };
  const rows: RowChange[] = [{ kind: "message.put", event: 0, message_id, role, status, run_id: null, data }];
  if (attachment_ids.length > 0) rows.push({ kind: "attachment.use", user, attachment_ids, at: now });
  return { events: [event], rows };
}

/** Files are those that were uploaded, whatever a part says of others. */
async function partsOf(
  deps: MethodDeps,
  user: string,
  { parts: given = [] }: Given,
): Promise<{ parts: Part[]; attachment_ids: string[] }> {
  // What a model thought is as long as what it said, at the most.
  bounded(given.map((part) => ("text" in part ? part.text : "")).join(""), "body_bytes", deps.limits);
  const attachment_ids = given.flatMap((part) => (part.type === "attachment" ? [part.attachment_id] : []));
  const files = await namedFiles(deps, user, attachment_ids);
  const parts = given.flatMap((part): Part[] => {
    if (part.type === "image" || part.type === "file") return [];
    if (part.type !== "attachment") return [part];
    const file = files.find(({ attachment_id }) => attachment_id === part.attachment_id);
    return file === undefined ? [] : [partOf(file)];
  });
  return { parts, attachment_ids };
}
