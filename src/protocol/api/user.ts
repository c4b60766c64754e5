import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Params, Timestamp, User } from "../schema.ts";
import { RoleName } from "./auth.ts";

const info = Type.Object({
  user: User,
  disabled: Type.Boolean(),
  deleting: Type.Optional(Type.Boolean({ description: "it was decided, and is under way" })),
  role: Type.Optional(RoleName),
  scopes: Type.Array(Type.String(), { description: "of all their credentials together" }),
  tokens: Type.Integer(),
  devices: Type.Integer(),
  auth_sessions: Type.Integer(),
  sessions: Type.Integer(),
  connections: Type.Integer(),
  last_used_at: Type.Optional(Timestamp),
});

export const userList = defineMethod({
  name: "user.list",
  scope: "admin",
  doc: "Everybody who has a credential or a session, by name.",
  params: Params({
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 100 })),
    cursor: Type.Optional(User),
  }),
  result: Type.Object({ users: Type.Array(info), next: Type.Optional(Type.String()) }),
});

export const userDisable = defineMethod({
  name: "user.disable",
  scope: "admin",
  mutates: true,
  doc: "Shuts a user out: none of their credentials counts, their connections end and their runs are aborted. `disabled: false` lets them in again. Not for yourself, nor for the user `owner`.",
  audit: ({ user, disabled = true }) => ({ target: user, details: { disabled } }),
  params: Params({ user: User, disabled: Type.Optional(Type.Boolean({ default: true })) }),
  result: Type.Object({ user: User, disabled: Type.Boolean() }),
});

export const userDelete = defineMethod({
  name: "user.delete",
  scope: "admin",
  mutates: true,
  doc: "Ends a user with all their credentials. Their sessions are deleted, or become those of `transfer_to` under their `ses_` ids. Not for yourself, nor for the user `owner`.",
  audit: ({ user, sessions, transfer_to }) => ({ target: user, details: { sessions, transfer_to } }),
  params: Params({
    user: User,
    sessions: Type.Union([Type.Literal("delete"), Type.Literal("transfer")]),
    transfer_to: Type.Optional(User),
  }),
  result: Type.Object({
    deleted: Type.Boolean(),
    sessions: Type.Integer({ description: "how many were deleted or transferred" }),
  }),
});
