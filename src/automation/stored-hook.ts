import type { MadeBy } from "../core/maker.ts";
import type { HookView } from "../core/automation.ts";
import type { Scope } from "../protocol/schema.ts";
import type { Verify } from "./signature.ts";

/** As stored. */
export interface StoredHook extends MadeBy {
  readonly id: string;
  /** What of chat.write whoever made it had: it does later no more than they might do themselves. */
  readonly scopes: readonly Scope[];
  readonly name: string;
  readonly verify: Verify;
  readonly header: string;
  readonly session_id: string;
  readonly template: string;
  readonly model: string | null;
  readonly on_busy: HookView["on_busy"] | null;
  readonly dedupe: HookView["dedupe"];
  readonly id_header: string | null;
  readonly enabled: boolean;
  readonly created_at: number;
  readonly updated_at: number;
  /** Sealed. */
  readonly secret: string;
  /** The one before the last rotation, and until when it counts. */
  readonly previous: { readonly secret: string; readonly until: number } | null;
}

export function viewHook(hook: StoredHook, now: number): HookView {
  const { id, owner, name, verify, header, session_id, template, model, on_busy, dedupe, id_header } = hook;
  return {
    hook_id: id,
    name,
    owner,
    path: `/api/v1/hooks/${name}`,
    verify,
    header,
    session_id,
    template,
    ...(model !== null && { model }),
    ...(on_busy !== null && on_busy !== undefined && { on_busy }),
    dedupe,
    ...(id_header !== null && { id_header }),
    enabled: hook.enabled,
    created_at: hook.created_at,
    updated_at: hook.updated_at,
    ...(hook.previous !== null && hook.previous.until > now && { previous_until: hook.previous.until }),
  };
}
