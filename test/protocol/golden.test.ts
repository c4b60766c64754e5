import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { startGateway } from "../support/gateway-process.ts";
import { chat } from "./golden.chat.ts";
import { devices } from "./golden.devices.ts";
import { oneshot, rest, sse } from "./golden.http.ts";
import { startGatedModel } from "./golden.model.ts";
import { Recorder } from "./golden.recorder.ts";
import type { Stage } from "./golden.sockets.ts";
import { errors, handshake, restart, resume, signals } from "./golden.sockets.ts";

const FOLDER = resolve(import.meta.dir, "../../docs/golden");
/** `AGENTBUS_GOLDEN=write bun test test/protocol/golden.test.ts` records anew instead of comparing. */
const WRITES = Bun.env["AGENTBUS_GOLDEN"] === "write";

const EXCHANGES: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  handshake,
  chat,
  errors,
  resume,
  restart,
  signals,
  rest,
  sse,
  oneshot,
  devices,
};

const TIMEOUT_MS = 60_000;

for (const [name, play] of Object.entries(EXCHANGES)) {
  const title = `the wire is as docs/golden/${name}.jsonl says`;
  const check = async (): Promise<void> => {
    using model = startGatedModel();
    await using gateway = await startGateway({
      config: {
        auth: { mode: name === "devices" ? "device" : "token" },
        gateway: { heartbeat_interval_secs: name === "signals" ? 1 : 30 },
        limits: { far_events: 8, waits_in_flight: 1, message_bytes: 64 },
        llm: {
          default_provider: "golden",
          default_model: "golden/writer",
          providers: { golden: { base_url: model.url, max_retries: 1 } },
        },
      },
    });
    const record = new Recorder(gateway);
    await play({ record, model });
    const recorded = `${record.lines.join("\n")}\n`;
    const file = Bun.file(`${FOLDER}/${name}.jsonl`);
    if (WRITES) await Bun.write(file, recorded);
    else expect(recorded).toBe(await file.text());
  };
  // On a busy machine the gateway may give way to others before session.synced; a change of the wire comes every time.
  test(title, check, { timeout: TIMEOUT_MS, retry: WRITES ? 0 : 2 });
}

test("every recorded exchange is played", () => {
  const files = [...new Bun.Glob("*.jsonl").scanSync(FOLDER)].map((file) => file.replace(".jsonl", ""));
  expect(files.toSorted()).toEqual(Object.keys(EXCHANGES).toSorted());
});
