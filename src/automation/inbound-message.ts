import { createHash } from "node:crypto";
import { isGatewaySessionId } from "../core/id.ts";
import type { TemplateSource } from "../core/template.ts";
import { fillTemplate, hasPlaces } from "../core/template.ts";
import type { StoredHook } from "./stored-hook.ts";

/** A delivery, read. */
export interface Read extends Pick<TemplateSource, "body" | "text"> {
  /** Hex of the SHA-256 of the body. */
  readonly digest: string;
  readonly headers: Headers;
}

/** Where senders say which delivery it is, the same for each try of it. */
const ID_HEADERS = [
  "webhook-id",
  "idempotency-key",
  "x-github-delivery",
  "x-gitlab-event-uuid",
  "x-shopify-webhook-id",
];
/** Headers that say who somebody is are nothing for a message. */
const PRIVATE = /auth|cookie|secret|signature|token|key/;
const SESSION_CHARS = 128;

/** Params of chat.send for a delivery. */
export function messageOf(hook: StoredHook, read: Read, max_chars: number): Record<string, unknown> {
  const { id, name, model, on_busy } = hook;
  const source: TemplateSource = {
    body: read.body,
    text: read.text,
    header: (header) => (PRIVATE.test(header) || header === hook.header ? null : read.headers.get(header)),
  };
  // One more than may be said: what is too long is refused, not cut.
  const { text } = fillTemplate(hook.template, source, max_chars + 1);
  const delivery = deliveryOf(hook, read);
  return {
    session_id: sessionOf(hook.session_id, source),
    message: text,
    subscribe: false,
    metadata: { hook: name, ...(delivery !== null && { delivery: delivery.slice(0, SESSION_CHARS) }) },
    ...(model !== null && { model }),
    ...(on_busy !== null && { on_busy }),
    ...(delivery !== null && { idempotency_key: `hook:${id}:${short(delivery)}` }),
  };
}

/** What says that a delivery is the same as another; null: nothing does. */
function deliveryOf({ dedupe, id_header }: StoredHook, { headers, digest }: Read): string | null {
  if (dedupe === "none") return null;
  if (dedupe === "body") return digest;
  for (const header of id_header === null ? ID_HEADERS : [id_header]) {
    const id = headers.get(header);
    if (id !== null && id !== "") return id;
  }
  return null;
}

/** What is put in becomes what an id may be, and none of the gateway's. */
function sessionOf(template: string, source: TemplateSource): string {
  if (!hasPlaces(template)) return template;
  const { text } = fillTemplate(template, source, SESSION_CHARS);
  const id = text.replaceAll(/[^A-Za-z0-9._:-]+/g, "-") || "-";
  return isGatewaySessionId(id) ? `-${id}`.slice(0, SESSION_CHARS) : id;
}

function short(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}
