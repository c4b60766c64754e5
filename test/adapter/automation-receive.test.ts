import { expect, test } from "bun:test";
import type { InboundOptions } from "../../src/automation/inbound-receive.ts";
import { createReceiver } from "../../src/automation/inbound-receive.ts";
import type { StoredHook } from "../../src/automation/stored-hook.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

const HOOK = { id: "hok_1", owner: "ann", enabled: true, secret: "right", previous: null };
const HOOKS: Record<string, Partial<StoredHook>> = {
  token: { ...HOOK, verify: "token", header: "authorization" },
  hmac: { ...HOOK, verify: "hmac", header: "x-hub-signature-256" },
};

test("how long a wrong secret takes does not tell which names there are", async () => {
  const options = {
    clock: manualClock(),
    limits: DEFAULT_LIMITS,
    log: silentLog,
    audit: { tally: () => undefined },
    sealer: { open: (sealed: string) => sealed },
    stats: { hook_calls: { taken: 0, refused: 0 } },
  };
  const receive = createReceiver(
    options as unknown as InboundOptions,
    (name) => (HOOKS[name] as StoredHook | undefined) ?? null,
  );
  const body = new Uint8Array(DEFAULT_LIMITS.body_bytes);
  const headers = new Headers({ authorization: "Bearer wrong", "x-hub-signature-256": "wrong" });
  const { signal } = new AbortController();
  const took: Record<string, number[]> = { token: [], hmac: [], nobody: [] };
  for (let i = 0; i < 40; i++) {
    for (const [name, times] of Object.entries(took)) {
      const began = performance.now();
      const outcome = await receive({ name, headers, body, remote: "192.0.2.1", signal });
      times.push(performance.now() - began);
      expect(outcome).toMatchObject({ ok: false, error: { reason: "UNAUTHORIZED" } });
    }
  }
  const [token = 0, hmac = 0, nobody = 0] = Object.values(took).map(
    (times) => times.toSorted((a, b) => a - b)[20],
  );
  // The body is looked at, whether it need be or not.
  for (const each of [token, hmac]) expect(each / nobody).toBeWithin(1 / 3, 3);
});
