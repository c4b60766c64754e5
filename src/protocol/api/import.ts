import { Type } from "@sinclair/typebox";
import { Part, Role, Usage } from "../entities.ts";
import { defineMethod } from "../methods.ts";
import { Id, Metadata, Params, SessionId, Moment } from "../schema.ts";

/** Messages of one request. */
const MESSAGES = 200;

const File = Type.Object({ type: Type.Literal("attachment"), attachment_id: Id });

/** A message as a file of an export has it, with its files uploaded before. */
const ImportedMessage = Type.Object(
  {
    message_id: Type.Optional(Id),
    role: Role,
    status: Type.Union([Type.Literal("complete"), Type.Literal("partial")]),
    content: Type.String({ description: "counts where there are no parts, and where the role is tool" }),
    parts: Type.Optional(Type.Array(Type.Union([Part, File]), { maxItems: 10_000 })),
    model: Type.Optional(Type.String({ maxLength: 256 })),
    usage: Type.Optional(Usage),
    timestamp: Moment,
    metadata: Type.Optional(Metadata),
  },
  { additionalProperties: false },
);

const ImportedSession = Type.Object(
  {
    digest: Type.String({ pattern: "^[0-9a-f]{64}$", description: "SHA-256 of all of it" }),
    name: Type.Optional(SessionId),
    title: Type.Optional(Type.String()),
    model: Type.Optional(Type.String({ maxLength: 256 })),
    system_prompt: Type.Optional(Type.String()),
    metadata: Type.Optional(Metadata),
    created_at: Type.Optional(Moment),
    archived: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

export const sessionImport = defineMethod({
  name: "session.import",
  scope: "sessions.manage",
  mutates: true,
  aliases: ["sessions.import"],
  doc:
    "Brings a session in, in any number of requests: the first says what it is, the last has `done`. Until then it is there for nobody. " +
    "One that came in already, by its `digest`, is skipped.",
  params: Params({
    import_id: Type.Optional(Type.String({ maxLength: 64, description: "of the answer to the first" })),
    session: Type.Optional(ImportedSession),
    messages: Type.Optional(Type.Array(ImportedMessage, { maxItems: MESSAGES })),
    done: Type.Optional(Type.Boolean()),
  }),
  result: Type.Object({
    status: Type.Union([Type.Literal("open"), Type.Literal("done"), Type.Literal("skipped")]),
    import_id: Type.Optional(Type.String()),
    session_id: Type.Optional(SessionId),
    messages: Type.Integer({ description: "that came in so far" }),
  }),
});
