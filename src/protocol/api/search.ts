import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Id, Params, Seq, SessionId, Timestamp } from "../schema.ts";

const Found = Type.Object({
  session_id: SessionId,
  title: Type.String(),
  message_id: Id,
  seq: Seq,
  role: Type.Union([Type.Literal("user"), Type.Literal("assistant")]),
  timestamp: Timestamp,
  snippet: Type.String({ description: "the text around what was found" }),
  matches: Type.Array(
    Type.Object({ off: Type.Integer({ minimum: 0 }), length: Type.Integer({ minimum: 1 }) }),
    {
      description: "where it stands in the snippet, in UTF-16 code units, in order",
    },
  ),
});

export const sessionSearch = defineMethod({
  name: "session.search",
  scope: "chat.read",
  aliases: ["sessions.search"],
  doc:
    "Messages of yours and of sessions shared with you that have all the words, newest first, whatever case and accents; " +
    'words in "quotes" stand together, and the last word may be begun only (from four letters on). ' +
    "A message is found about a second after it is complete. A page may be short, or empty, while `next` says that there is more.",
  params: Params({
    query: Type.String({ minLength: 1, maxLength: 200 }),
    session_id: Type.Optional(SessionId),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
    cursor: Type.Optional(Type.String({ maxLength: 32 })),
  }),
  result: Type.Object({ results: Type.Array(Found), next: Type.Optional(Type.String()) }),
});
