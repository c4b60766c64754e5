import { Type } from "@sinclair/typebox";
import { Approval } from "../entities.ts";
import { defineMethod } from "../methods.ts";
import { Empty, Id, IdempotencyKey, Metadata, Params, SessionId } from "../schema.ts";

export const toolList = defineMethod({
  name: "tool.list",
  scope: "chat.read",
  doc: "The tools a model may call, what is done when it does, and the servers they come from.",
  params: Empty,
  result: Type.Object({
    tools: Type.Array(
      Type.Object({
        name: Type.String(),
        description: Type.String(),
        parameters: Metadata,
        source: Type.String({
          description: "builtin, skill, mcp: and the server's name, or plugin: and its name",
        }),
        policy: Type.Union([Type.Literal("allow"), Type.Literal("ask"), Type.Literal("deny")]),
      }),
    ),
    servers: Type.Array(
      Type.Object({
        name: Type.String(),
        state: Type.Union([
          Type.Literal("connecting"),
          Type.Literal("ready"),
          Type.Literal("failed"),
          Type.Literal("stopped"),
        ]),
        reason: Type.Optional(Type.String()),
        tools: Type.Integer({ minimum: 0 }),
      }),
    ),
  }),
});

export const toolApprove = defineMethod({
  name: "tool.approve",
  scope: "tools.approve",
  mutates: true,
  idempotent: true,
  doc: "Answers a tool call that waits, once; with remember the tool needs no further answer in this session.",
  audit: ({ session_id, approval_id, decision, remember }) => ({
    target: session_id,
    details: { approval_id, decision, remember },
  }),
  params: Params({
    session_id: SessionId,
    approval_id: Id,
    decision: Type.Union([Type.Literal("allow"), Type.Literal("deny")]),
    remember: Type.Optional(Type.Literal("session")),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  result: Type.Object({ approval: Approval }),
});
