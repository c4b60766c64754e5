import { expect, test } from "bun:test";
import { join } from "node:path";
import { download, upload } from "../gateway/files.fixture.ts";
import { eventually } from "../gateway/stack.ts";
import { fileFaults } from "../support/file-check.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { Random } from "../support/random.ts";
import { seeded } from "../support/random.ts";

const KILLS = Math.ceil(Number(Bun.env["AGENTBUS_TEST_KILLS"] ?? 30) / 4);
const SEED = Number(Bun.env["AGENTBUS_TEST_SEED"] ?? Math.floor(Math.random() * 1_000_000_000));
const AT_ONCE = 4;
const KIB = 1024;

interface Sent {
  readonly session_id: string;
  readonly attachment_id: string;
  readonly text: string;
}

/** What was promised, and what was taken back, by answers that were read. */
interface Ledger {
  readonly sent: Map<string, Sent>;
  /** Sessions whose deletion was asked for. */
  readonly deleted: Set<string>;
  uploads: number;
  cut: number;
}

async function call(gateway: RunningGateway, method: string, params: object): Promise<void> {
  const response = await fetch(`${gateway.url}/api/v1/rpc/${method}`, {
    method: "POST",
    headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
    body: JSON.stringify(params),
  });
  if (response.status !== 200) throw new Error(`${method}: ${response.status} ${await response.text()}`);
}

/** A session with a file in it, and sometimes a copy of it, and sometimes its end. */
async function play(gateway: RunningGateway, ledger: Ledger, random: Random, name: string): Promise<void> {
  const bearer = { authorization: `Bearer ${gateway.token}` };
  // Some of them are the same.
  const text = `${random.between(0, 3)} `.padEnd(random.pick([100, 300 * KIB, 900 * KIB]), "0123456789");
  const { attachment_id } = await upload({ gateway }, { bearer }, text);
  ledger.uploads++;
  await call(gateway, "session.create", { session_id: name });
  await call(gateway, "chat.inject", {
    session_id: name,
    role: "user",
    content: "x",
    attachments: [attachment_id],
  });
  ledger.sent.set(name, { session_id: name, attachment_id, text });
  if (random.chance(0.3)) await call(gateway, "session.fork", { session_id: name });
  if (random.chance(0.4)) {
    ledger.deleted.add(name);
    await call(gateway, "session.delete", { session_id: name });
  }
}

/** Plays until the process is gone; what is cut off by that is of no concern. */
async function playOn(gateway: RunningGateway, ledger: Ledger, random: Random, name: string): Promise<void> {
  for (let i = 0; ; i++) {
    const going = await play(gateway, ledger, random, `${name}-${i}`).then(
      () => true,
      (error: unknown) => {
        // Anything else than a lost connection was an answer, and must not be one of these.
        if (error instanceof Error && /^\w[\w.]+: (4|500)/.test(error.message)) throw error;
        return false;
      },
    );
    if (!going) break;
  }
  ledger.cut++;
}

test(
  "killed among uploads, messages, copies and deletions, again and again: every name has its content",
  async () => {
    const random = seeded(SEED);
    const limits = { mutations_per_second: 100_000, mutations_burst: 100_000 };
    await using gateway = await startGateway({ config: { limits } });
    const ledger: Ledger = { sent: new Map(), deleted: new Set(), uploads: 0, cut: 0 };
    const database = join(gateway.data_dir, "agentbus.db");
    const where = `AGENTBUS_TEST_SEED=${SEED}`;
    for (let kill = 0; kill < KILLS; kill++) {
      const before = ledger.uploads;
      const players = Array.from({ length: AT_ONCE }, (_, i) =>
        playOn(gateway, ledger, random, `s${kill}-${i}`),
      );
      await eventually(
        () => ledger.uploads,
        (uploads) => uploads >= before + random.between(1, 20),
        20_000,
      );
      gateway.kill("SIGKILL");
      await gateway.exited;
      await Promise.all(players);
      expect([where, fileFaults(database)]).toEqual([where, []]);
      await gateway.restart();
    }
    const bearer = { authorization: `Bearer ${gateway.token}` };
    for (const { session_id, attachment_id, text } of ledger.sent.values()) {
      const response = await download({ gateway }, { bearer }, session_id, attachment_id);
      const read = await response.text();
      // A deletion that was asked for may have come about or not.
      if (ledger.deleted.has(session_id) && response.status === 410) continue;
      expect([where, session_id, response.status, read === text]).toEqual([where, session_id, 200, true]);
    }
    expect(ledger.cut).toBe(KILLS * AT_ONCE);
    expect([where, fileFaults(database)]).toEqual([where, []]);
  },
  { timeout: 60_000 + KILLS * 20_000 },
);
