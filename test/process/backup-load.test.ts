import { Database } from "bun:sqlite";
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startGateway } from "../support/gateway-process.ts";
import { openSocket } from "../support/ws-client.ts";

setDefaultTimeout(60_000);

/** Each is in the log, in its row and in the index. */
const MESSAGES = 150;
const MESSAGE_BYTES = 100_000;
const AT_ONCE = 15;
/** Promised is a second. */
const LATE_MS = 5_000;

test("50 MB are backed up by the gateway itself while answers are written, which nobody notices", async () => {
  const home = mkdtempSync(join(tmpdir(), "agentbus-load-"));
  const directory = join(home, "backups");
  const data_dir = join(home, "data");
  const limits = { mutations_per_second: 100_000, mutations_burst: 100_000 };
  try {
    {
      await using filling = await startGateway({ data_dir, config: { limits } });
      const headers = { authorization: `Bearer ${filling.token}` };
      await using socket = await openSocket(filling.ws_url, { headers });
      await socket.request("session.create", { session_id: "full" });
      const content = "some words that take room ".repeat(MESSAGE_BYTES / 26);
      const inject = () => socket.request("chat.inject", { session_id: "full", role: "user", content });
      for (let i = 0; i < MESSAGES; i += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, inject));
    }
    mkdirSync(directory);
    await using gateway = await startGateway({
      data_dir,
      config: { limits, server: { shutdown_grace_secs: 0 }, backup: { directory } },
    });
    await using socket = await openSocket(gateway.ws_url, {
      headers: { authorization: `Bearer ${gateway.token}` },
    });
    await socket.request("chat.send", { session_id: "talk", message: "/long 2000" });
    let worst = 0;
    let events = 0;
    for (let done = false; !done;) {
      const { json } = await socket.next((frame) => frame.json.seq !== undefined, LATE_MS);
      worst = Math.max(worst, Date.now() - json.ts);
      events++;
      done = events > 100 && gateway.log.some(({ msg }) => msg === "backed up");
      if (json.event === "run.completed")
        await socket.request("chat.send", { session_id: "talk", message: "/long 2000" });
    }
    const line = gateway.log.find(({ msg }) => msg === "backed up");
    expect(line?.["bytes"]).toBeGreaterThan(50_000_000);
    expect(worst).toBeLessThan(LATE_MS);
    const [name = ""] = readdirSync(directory);
    const copy = new Database(join(directory, name), { readonly: true });
    expect(copy.query("PRAGMA quick_check").get()).toEqual({ quick_check: "ok" });
    expect(copy.query("SELECT COUNT(*) AS n FROM messages").get()).toMatchObject({ n: expect.any(Number) });
    copy.close(true);
    const status = await socket.request("system.status");
    expect(status.backup).toEqual({ last_at: expect.any(Number), next_at: expect.any(Number) });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
