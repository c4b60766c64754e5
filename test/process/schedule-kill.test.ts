import { expect, test } from "bun:test";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { ask, eventually } from "../gateway/stack.ts";

const SCHEDULES = 60;
const KILLS = 5;
const BETWEEN_MS = 60;

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
async function call(gateway: RunningGateway, method: string, params: unknown): Promise<any> {
  const headers = { authorization: `Bearer ${gateway.token}` };
  const { status, json } = await ask(`${gateway.url}/api/v1/rpc/${method}`, "POST", {
    body: params,
    headers,
  });
  if (status !== 200) throw new Error(`${method}: ${JSON.stringify(json)}`);
  return json;
}

test("whatever moment the process is killed at, every moment of a schedule is said once", async () => {
  await using gateway = await startGateway();
  // All of them are due while the process dies again and again.
  const start = Date.now() + 3_000;
  const ids: string[] = [];
  for (let i = 0; i < SCHEDULES; i++) {
    const params = {
      at: start + i * BETWEEN_MS,
      message: `n ${i}`,
      session_id: `s${i % 3}`,
      overlap: "send",
    };
    ids.push(
      (await call(gateway, "schedule.create", { ...params, missed: i % 2 === 0 ? "all" : "once" }))
        .schedule_id,
    );
  }
  await Bun.sleep(Math.max(0, start - Date.now()));
  for (let i = 0; i < KILLS; i++) {
    await Bun.sleep(BETWEEN_MS * 3 + i * 37);
    gateway.kill("SIGKILL");
    await gateway.restart();
  }
  const schedules = await eventually(
    async () => (await call(gateway, "schedule.list", {})).schedules as { last?: { status: string } }[],
    (list) => list.every(({ last }) => last !== undefined),
    30_000,
  );
  expect(schedules.map(({ last }) => last?.status)).toEqual(ids.map(() => "sent"));
  const said: string[] = [];
  for (const session_id of ["s0", "s1", "s2"]) {
    const { messages } = await call(gateway, "chat.history", { session_id, limit: 1_000 });
    for (const { role, metadata } of messages) if (role === "user") said.push(metadata.schedule);
  }
  expect(said.toSorted()).toEqual(ids.toSorted());
}, 60_000);
