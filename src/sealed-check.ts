import { HOOKS } from "./automation/inbound.ts";
import { openerIn } from "./automation/sealed.ts";
import type { StoredHook } from "./automation/stored-hook.ts";
import { WEBHOOKS } from "./automation/webhooks.ts";
import { recordsIn } from "./store/sqlite/check.ts";

/** The hooks and webhooks of a data directory whose secret its key opens, and the others. */
export interface SealedCheck {
  readonly opened: readonly string[];
  readonly locked: readonly string[];
}

/** Each as `hook NAME` or `webhook NAME`. @throws GatewayError UNAVAILABLE where the key cannot be read */
export function inspectSealed(data_dir: string): SealedCheck {
  const opens = openerIn(data_dir);
  const [opened, locked]: [string[], string[]] = [[], []];
  for (const { collection, id, data } of recordsIn(data_dir, [HOOKS, WEBHOOKS])) {
    const { name, secret } = JSON.parse(data) as Pick<StoredHook, "name" | "secret">;
    (opens(secret, id) ? opened : locked).push(`${collection} ${name}`);
  }
  return { opened, locked };
}
