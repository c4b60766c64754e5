import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Empty, Id, Params, ScopeSchema, Timestamp, User } from "../schema.ts";

export const RoleName = Type.Union([
  Type.Literal("viewer"),
  Type.Literal("user"),
  Type.Literal("operator"),
  Type.Literal("admin"),
]);

const tokenFields = {
  token_id: Id,
  name: Type.String(),
  user: User,
  scopes: Type.Array(Type.String()),
  created_at: Timestamp,
  expires_at: Type.Optional(Timestamp),
  last_used_at: Type.Optional(Timestamp),
};
export const TokenInfo = Type.Object(tokenFields);
const issued = Type.Object({ token: Type.String({ description: "shown this once" }), ...tokenFields });

export const tokenCreate = defineMethod({
  name: "token.create",
  scope: "admin",
  mutates: true,
  doc: "Makes a token; the answer is the only time it is shown.",
  audit: ({ name, user, role, scopes, expires_in_secs }) => ({
    details: { name, user, role, scopes, expires_in_secs },
  }),
  params: Params({
    name: Type.String({ minLength: 1, maxLength: 64 }),
    user: Type.Optional(User),
    role: Type.Optional(RoleName),
    scopes: Type.Optional(Type.Array(ScopeSchema, { maxItems: 16 })),
    expires_in_secs: Type.Optional(Type.Integer({ minimum: 1, maximum: 315_360_000 })),
  }),
  result: issued,
});

export const tokenList = defineMethod({
  name: "token.list",
  scope: "admin",
  doc: "The tokens, without their secrets.",
  params: Empty,
  result: Type.Object({ tokens: Type.Array(TokenInfo) }),
});

export const tokenRotate = defineMethod({
  name: "token.rotate",
  scope: "admin",
  mutates: true,
  doc: "A new secret for a token; the old one stops working at once.",
  audit: ({ token_id }) => ({ target: token_id }),
  params: Params({ token_id: Id }),
  result: issued,
});

export const tokenRevoke = defineMethod({
  name: "token.revoke",
  scope: "admin",
  mutates: true,
  doc: "Ends a token and every connection that used it.",
  audit: ({ token_id }) => ({ target: token_id }),
  params: Params({ token_id: Id }),
  result: Type.Object({ revoked: Type.Boolean() }),
});

const authSession = Type.Object({
  auth_session_id: Id,
  user: User,
  scopes: Type.Array(Type.String()),
  method: Type.String(),
  created_at: Timestamp,
  expires_at: Timestamp,
});

export const authSessionCreate = defineMethod({
  name: "auth_session.create",
  scope: null,
  mutates: true,
  doc: "A login with an expiry, with the caller's own user and scopes.",
  audit: () => ({}),
  params: Empty,
  result: Type.Object({
    auth_session_id: Id,
    session_token: Type.String(),
    user: User,
    scopes: Type.Array(Type.String()),
    expires_at: Timestamp,
  }),
});

export const authSessionValidate = defineMethod({
  name: "auth_session.validate",
  scope: null,
  doc: "Whether a session_token of the caller's own user (for an administrator: of anyone) is valid now.",
  params: Params({ session_token: Type.String({ minLength: 1, maxLength: 1024 }) }),
  result: Type.Object({
    valid: Type.Boolean(),
    user: Type.Optional(User),
    scopes: Type.Optional(Type.Array(Type.String())),
    expires_at: Type.Optional(Timestamp),
  }),
});

export const authSessionList = defineMethod({
  name: "auth_session.list",
  scope: null,
  doc: "The caller's auth sessions; for an administrator everybody's.",
  params: Empty,
  result: Type.Object({ auth_sessions: Type.Array(authSession) }),
});

export const authSessionRevoke = defineMethod({
  name: "auth_session.revoke",
  scope: null,
  mutates: true,
  doc: "Ends an auth session and its connections: the caller's own, or anybody's for an administrator. Without an id, the one this request came with.",
  audit: ({ auth_session_id }) => (auth_session_id === undefined ? {} : { target: auth_session_id }),
  params: Params({ auth_session_id: Type.Optional(Id) }),
  result: Type.Object({ revoked: Type.Boolean() }),
});

export const ticketCreate = defineMethod({
  name: "ticket.create",
  scope: null,
  mutates: true,
  doc: "A single-use credential for one upgrade or one SSE request within 30 seconds.",
  params: Empty,
  result: Type.Object({ ticket: Type.String(), expires_at: Timestamp }),
});
