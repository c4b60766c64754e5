import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Empty, Id, Params, Timestamp, User } from "../schema.ts";
import { OnBusy } from "./chat.ts";

/** What a hook is called in its path. */
export const HookName = Type.String({
  pattern: "^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$",
  description: "lower case letters, digits, dots, dashes: the end of its path; one of the gateway",
});

/** Of what somebody set up. */
export const Suspended = Type.String({
  description:
    "why nothing of it is done: its user is disabled, or the credential it was made with has ended",
});

const Verify = Type.Union([Type.Literal("token"), Type.Literal("hmac"), Type.Literal("standard")], {
  description:
    "how a sender proves itself: `token`, the secret in a header; `hmac`, the HMAC-SHA256 of the body in a header, as " +
    "GitHub and others send it; `standard`, Standard Webhooks",
});
const Dedupe = Type.Union([Type.Literal("id"), Type.Literal("body"), Type.Literal("none")], {
  description:
    "what makes a delivery the same as an earlier one, within limits.key_ttl_secs: the id in a header (where there is " +
    "one), the same body, or nothing",
});
const Header = Type.String({ pattern: "^[A-Za-z0-9-]{1,64}$" });
const Secret = Type.String({ minLength: 16, maxLength: 256, pattern: "^[\\x21-\\x7e]+$" });
const Template = Type.String({ minLength: 1, maxLength: 16_384 });
const SessionTemplate = Type.String({
  minLength: 1,
  maxLength: 256,
  description: "the session, by its id; with {{…}} in it, as `pr-{{number}}`, the delivery chooses",
});
const Model = Type.String({ minLength: 1, maxLength: 256 });

const choices = {
  session_id: SessionTemplate,
  template: Template,
  model: Type.Optional(Model),
  on_busy: Type.Optional(OnBusy),
};
const hookFields = {
  hook_id: Id,
  name: HookName,
  owner: User,
  path: Type.String({ description: "where deliveries are posted" }),
  verify: Verify,
  header: Type.String({ description: "where the proof stands" }),
  ...choices,
  dedupe: Dedupe,
  id_header: Type.Optional(Header),
  enabled: Type.Boolean(),
  suspended: Type.Optional(Suspended),
  created_at: Timestamp,
  updated_at: Timestamp,
  previous_until: Type.Optional(
    Type.Integer({ minimum: 0, description: "until when the secret before the last rotation counts, too" }),
  ),
};
export const Hook = Type.Object(hookFields);
const Issued = Type.Object({
  secret: Type.Optional(Type.String({ description: "shown this once; absent where you gave it" })),
  ...hookFields,
});

export const hookCreate = defineMethod({
  name: "hook.create",
  scope: "sessions.manage",
  mutates: true,
  doc:
    "Makes POST /api/v1/hooks/:name: a delivery that proves itself with the hook's own secret becomes a message of yours. " +
    "In `template`, {{path.to.value}} stands for what is there in the JSON body, {{$body}} for all of it, " +
    "{{$header.x-name}} for a header. Needs chat.write too.",
  audit: ({ name, session_id, verify }) => ({ details: { name, session_id, verify } }),
  params: Params({
    name: HookName,
    verify: Type.Optional(Verify),
    header: Type.Optional(Header),
    secret: Type.Optional(Secret),
    ...choices,
    dedupe: Type.Optional(Dedupe),
    id_header: Type.Optional(Header),
  }),
  result: Issued,
});

export const hookList = defineMethod({
  name: "hook.list",
  scope: "chat.read",
  doc: "The caller's hooks, without their secrets; for an administrator everybody's.",
  params: Empty,
  result: Type.Object({ hooks: Type.Array(Hook) }),
});

export const hookUpdate = defineMethod({
  name: "hook.update",
  scope: "sessions.manage",
  mutates: true,
  doc: 'Changes what becomes of a hook\'s deliveries, or whether there are any. "" takes model back.',
  audit: ({ hook_id, session_id, enabled }) => ({ target: hook_id, details: { session_id, enabled } }),
  params: Params({
    hook_id: Id,
    session_id: Type.Optional(SessionTemplate),
    template: Type.Optional(Template),
    model: Type.Optional(Type.String({ maxLength: 256 })),
    on_busy: Type.Optional(OnBusy),
    dedupe: Type.Optional(Dedupe),
    enabled: Type.Optional(Type.Boolean()),
  }),
  result: Hook,
});

export const hookRotate = defineMethod({
  name: "hook.rotate",
  scope: "sessions.manage",
  mutates: true,
  doc: "A new secret for a hook; the old one stops working at once, or after keep_secs.",
  audit: ({ hook_id, keep_secs }) => ({ target: hook_id, details: { keep_secs } }),
  params: Params({
    hook_id: Id,
    secret: Type.Optional(Secret),
    keep_secs: Type.Optional(Type.Integer({ minimum: 0, maximum: 604_800, default: 0 })),
  }),
  result: Issued,
});

export const hookDelete = defineMethod({
  name: "hook.delete",
  scope: "sessions.manage",
  mutates: true,
  doc: "Ends a hook: its path answers as if it had never been.",
  audit: ({ hook_id }) => ({ target: hook_id }),
  params: Params({ hook_id: Id }),
  result: Type.Object({ deleted: Type.Boolean() }),
});
