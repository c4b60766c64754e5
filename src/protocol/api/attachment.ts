import type { Static } from "@sinclair/typebox";
import { Type } from "@sinclair/typebox";
import { FILE_FIELDS, IMAGE_FIELDS } from "../entities.ts";
import { Timestamp } from "../schema.ts";

/** What an upload is answered with. It is no method: its body is the file. */
export const Attachment = Type.Object({
  ...FILE_FIELDS,
  type: Type.Union([Type.Literal("image"), Type.Literal("file")], {
    description: "the type of the part it becomes",
  }),
  width: Type.Optional(IMAGE_FIELDS.width),
  height: Type.Optional(IMAGE_FIELDS.height),
  sha256: Type.String({ description: "lowercase hex, of the content" }),
  expires_at: Type.Unsafe<Static<typeof Timestamp>>({
    ...Timestamp,
    description: "it is erased then, unless a message names it",
  }),
});
export type Attachment = Static<typeof Attachment>;
