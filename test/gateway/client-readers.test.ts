import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { SessionEvent } from "../../src/package/client.ts";
import { until } from "../support/stub-gateway.ts";
import type { Lines } from "./client-lines.ts";
import { TRANSPORTS, answerTo, openLines } from "./client-lines.ts";

const LONG_MS = 60_000;
setDefaultTimeout(LONG_MS);

let lines: Lines;
beforeAll(async () => {
  lines = await openLines();
});
afterEach(() => lines.leave());
afterAll(() => lines[Symbol.asyncDispose]());

let sessions = 0;
const fresh = (): string => `s${++sessions}`;

describe.each(TRANSPORTS)("over %s", (transport) => {
  test("every reader has every event once, wherever it begins and however often the line breaks", async () => {
    const { client, cut } = await lines.connect(transport);
    const session = client.session(fresh());
    const sent = await session.send("/long 200");
    const read = async (after?: { epoch: string; seq: number }): Promise<SessionEvent[]> => {
      const seen: SessionEvent[] = [];
      for await (const event of session.events({ ...(after && { after }), until: sent.run_id }))
        seen.push(event);
      return seen;
    };
    const readers = [read(sent), read({ epoch: sent.epoch, seq: 0 }), read()];
    const cuts = setInterval(cut, 60);
    await until("some of it", () => (session.state.getSnapshot().cursor?.seq ?? 0) > 10);
    readers.push(read(sent), read());
    const all = await Promise.all(readers).finally(() => clearInterval(cuts));
    const end = all[0]!.at(-1)!.seq;
    for (const [index, from] of [sent.seq, 0].entries()) {
      expect(all[index]!.map(({ seq }) => seq)).toEqual(
        Array.from({ length: end - from }, (_, i) => from + 1 + i),
      );
    }
    expect(all[3]!.map(({ seq }) => seq)).toEqual(all[0]!.map(({ seq }) => seq));
    for (const seen of [all[2]!, all[4]!]) {
      expect(seen[0]!.event).toBe("session.snapshot");
      const from = seen[0]!.seq;
      expect(seen.map(({ seq }) => seq)).toEqual(Array.from({ length: end - from + 1 }, (_, i) => from + i));
    }
  });

  test("a loop is left by break, by its signal, and at the end of the session", async () => {
    const { client } = await lines.connect(transport);
    const session = client.session(fresh());
    await answerTo(session, "/long 2");
    for await (const { event } of session.events()) {
      expect(event).toBe("session.snapshot");
      break;
    }
    const controller = new AbortController();
    const aborted = (async () => {
      for await (const _ of session.events({ signal: controller.signal })) controller.abort();
    })().catch((error: unknown) => error);
    expect(await aborted).toMatchObject({ code: "ABORTED" });
    const ended = (async () => {
      for await (const { event } of session.events())
        if (event === "session.snapshot")
          void client.request("session.delete", { session_id: session.session_id });
    })().catch((error: unknown) => error);
    expect(await ended).toMatchObject({ code: "GONE" });
    await expect(session.state.until(({ status }) => status === "live")).rejects.toMatchObject({
      code: "GONE",
    });
    // Whoever comes later is told so, too.
    const late = (async () => {
      for await (const { event } of session.events()) expect(event).toBe("session.snapshot");
    })();
    await expect(late).rejects.toMatchObject({ code: "GONE" });
  });
});
