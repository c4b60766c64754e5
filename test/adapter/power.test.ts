import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Store } from "../../src/core/store.ts";
import { createSqliteStore } from "../../src/store/sqlite/store.ts";
import { says, silentLog, startEngine, until } from "../support/engine.ts";

function sqlite(data_dir: string, durability: "full" | "normal", boot: string): Store {
  return createSqliteStore({
    data_dir,
    durability,
    clock: systemClock,
    log: silentLog,
    limits: DEFAULT_LIMITS,
    boot_id: () => boot,
  });
}

interface Opening {
  readonly mode: string;
  readonly reason?: string;
  readonly epoch: string;
}

/**
 * Leaves a data directory as a machine without power would: copied under a gateway in the middle of an answer. Opens it
 * with another boot id, and tells how two cursors from before are answered: of the session that was being written, and
 * of one that was quiet.
 */
async function afterPowerLoss(
  durability: "full" | "normal",
  boot: string,
): Promise<{ writing: Opening; quiet: Opening }> {
  const home = mkdtempSync(join(tmpdir(), "agentbus-power-"));
  const [before, after] = [join(home, "before"), join(home, "after")];
  let hang = false;
  const first = await startEngine({
    store: sqlite(before, durability, "boot-1"),
    script: async function* (request, signal) {
      if (!hang) return yield* says("done")(request, signal);
      yield { type: "text", text: "half an ans" };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      yield { type: "aborted" };
      return undefined;
    },
  });
  const socket = first.connect();
  const quiet = await socket.request("chat.send", { session_id: "quiet", message: "hi" });
  await first.engine.runs.settled();
  hang = true;
  const writing = await socket.request("chat.send", { session_id: "writing", message: "hi" });
  await until(() =>
    socket.events().some((event) => event.session_id === "writing" && event.event === "message.delta"),
  );
  cpSync(before, after, { recursive: true, filter: (source) => !source.endsWith("lock.db") });
  await first.close();

  const second = await startEngine({ store: sqlite(after, durability, boot) });
  const back = second.connect();
  const resume = async (session_id: string, epoch: unknown): Promise<Opening> =>
    back.request<Opening>("session.subscribe", { session_id, epoch, after: 3 });
  const openings = {
    writing: await resume("writing", writing["epoch"]),
    quiet: await resume("quiet", quiet["epoch"]),
  };
  const runs = await back.request<{ runs: { status: string; reason?: string }[] }>("run.list", {
    session_id: "writing",
  });
  expect(runs.runs).toMatchObject([{ status: "interrupted", reason: "restart" }]);
  const history = await back.request<{ messages: { status: string; content: string }[] }>("chat.history", {
    session_id: "writing",
  });
  expect(history.messages.at(-1)).toMatchObject({ status: "partial", content: "half an ans" });
  await second.close();
  rmSync(home, { recursive: true, force: true });
  return openings;
}

test("full: after a loss of power what was being written is reset, what was quiet resumes", async () => {
  const { writing, quiet } = await afterPowerLoss("full", "boot-2");
  expect(writing).toMatchObject({ mode: "reset", reason: "epoch" });
  expect(quiet.mode).toBe("resume");
});

test("normal: after a loss of power everything is reset", async () => {
  const { writing, quiet } = await afterPowerLoss("normal", "boot-2");
  expect(writing).toMatchObject({ mode: "reset", reason: "epoch" });
  expect(quiet).toMatchObject({ mode: "reset", reason: "epoch" });
});

test("the same boot: a crash of the process takes nothing that was seen, so everything resumes", async () => {
  const { writing, quiet } = await afterPowerLoss("full", "boot-1");
  expect([writing.mode, quiet.mode]).toEqual(["resume", "resume"]);
});
