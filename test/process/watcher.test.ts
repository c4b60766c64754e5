import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";

/** What the fake gateway sends on a subscription; a number closes. */
let script: (string | number)[] = [];
let url = "";
let stop = (): void => undefined;

beforeAll(() => {
  const server = Bun.serve<undefined>({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request, upgrade) {
      if (request.headers.get("upgrade") !== null) {
        upgrade.upgrade(request, { data: undefined });
        return undefined;
      }
      const lines = script.map(String).join("");
      return new Response(lines, { headers: { "content-type": "text/event-stream" } });
    },
    websocket: {
      message(ws, raw) {
        const { id, method } = JSON.parse(String(raw)) as { id: string; method: string };
        if (method !== "session.subscribe") return undefined;
        for (let next = script.shift(); next !== undefined; next = script.shift()) {
          // What is left is for the next subscription.
          if (typeof next === "number") return ws.close(next);
          ws.send(next.replace("<id>", id));
        }
        return undefined;
      },
    },
  });
  url = `http://127.0.0.1:${server.port}`;
  stop = () => void server.stop(true);
});
afterAll(() => stop());

const EPOCH = "aaaaaaaa";
function opening(from: number): string {
  return `{"type":"res","id":"<id>","ok":true,"payload":{"mode":"resume","epoch":"${EPOCH}","from":${from},"head":9}}`;
}
function event(
  seq: number,
  more: { epoch?: string; session_id?: string; event?: string; payload?: unknown } = {},
): string {
  const frame = {
    type: "event",
    event: "app.x",
    session_id: "s",
    epoch: EPOCH,
    seq,
    ts: 1,
    payload: {},
    ...more,
  };
  return JSON.stringify(frame);
}
function signal(name: string, payload: unknown): string {
  return JSON.stringify({ type: "event", event: name, session_id: "s", ts: 1, payload });
}
const synced = (at: number): string => signal("session.synced", { epoch: EPOCH, at });
const beat = signal("heartbeat", { ts: 1, heads: { s: [EPOCH, 9] } });

function watch(transport: "ws" | "sse", seq: number | null): Watcher {
  return startWatcher({
    name: "w",
    session_id: "s",
    token: "t",
    route: () => url,
    transport: () => transport,
    ...(seq !== null && { start: { epoch: EPOCH, seq } }),
  });
}

const delta = (off: number): string =>
  event(off + 4, {
    event: "message.delta",
    payload: { message_id: "m", part: 0, kind: "text", off, text: "x" },
  });
const started = event(4, {
  event: "message.started",
  payload: { message_id: "m", role: "assistant", model: "x" },
});

const REFUSED: [string, (string | number)[], RegExp][] = [
  ["a gap", [opening(3), event(5)], /app.x aaaaaaaa.5 after aaaaaaaa.3/],
  ["the same event twice", [opening(3), event(4), event(4)], /4 after aaaaaaaa.4/],
  ["two events in the wrong order", [opening(3), event(5), event(4)], /5 after aaaaaaaa.3/],
  ["another epoch", [opening(3), event(4, { epoch: "bbbbbbbb" })], /bbbbbbbb.4 after aaaaaaaa.3/],
  ["another session", [opening(3), event(4, { session_id: "z" })], /of session z/],
  ["an opening from elsewhere", [opening(4)], /a resume from aaaaaaaa.4 for the cursor aaaaaaaa.3/],
  ["an event before the opening", [event(4), opening(3)], /before anything was subscribed/],
  ["synced too early", [opening(3), synced(4)], /the last event was aaaaaaaa.3/],
  ["synced twice", [opening(3), synced(3), synced(3)], /synced twice/],
  ["text that does not continue", [opening(3), started, delta(1), delta(3)], /does not continue/],
  ["a head that nothing comes for", [opening(3), synced(3), beat, beat], /two heartbeats named aaaaaaaa.9/],
  [
    "a lost log",
    [
      opening(3)
        .replace("resume", "reset")
        .replace('"head"', '"snapshot":{"session":{"epoch":"aaaaaaaa","head":3},"messages":[]},"head"'),
    ],
    /the log is lost/,
  ],
];
for (const [name, frames, expected] of REFUSED) {
  test(`over a socket, ${name} is refused`, async () => {
    script = [...frames];
    const watcher = watch("ws", 3);
    await expect(watcher.reached(9)).rejects.toThrow(expected);
  });
}

function sse(...events: [id: string | null, name: string, data: string][]): string[] {
  return events.map(
    ([id, name, data]) => `${id === null ? "" : `id: ${id}\n`}event: ${name}\ndata: ${data}\n\n`,
  );
}
const resumed = signal("session.resumed", { from: 3, head: 9 }).replace('"ts"', `"epoch":"${EPOCH}","ts"`);
const REFUSED_STREAMS: [string, string[], RegExp][] = [
  ["an event before the opening", sse([`${EPOCH}.4`, "app.x", event(4)]), /before the opening/],
  [
    "an opening twice",
    sse([`${EPOCH}.3`, "session.resumed", resumed], [`${EPOCH}.3`, "session.resumed", resumed]),
    /in the middle/,
  ],
  [
    "an id before its data",
    sse([`${EPOCH}.9`, "session.resumed", resumed]),
    /id aaaaaaaa.9 on an opening at aaaaaaaa.3/,
  ],
  [
    "an id of another event",
    sse([`${EPOCH}.3`, "session.resumed", resumed], [`${EPOCH}.5`, "app.x", event(4)]),
    /id aaaaaaaa.5/,
  ],
  [
    "an id on a signal",
    sse([`${EPOCH}.3`, "session.resumed", resumed], ["x", "session.synced", synced(3)]),
    /has no seq/,
  ],
  [
    "a gap",
    sse([`${EPOCH}.3`, "session.resumed", resumed], [`${EPOCH}.5`, "app.x", event(5)]),
    /5 after aaaaaaaa.3/,
  ],
  ["a line of another kind", ["what: ever\n\n"], /a line "what: ever"/],
];
for (const [name, lines, expected] of REFUSED_STREAMS) {
  test(`over a stream, ${name} is refused`, async () => {
    script = ["retry: 1000\n: hello\n\n", ...lines];
    const watcher = watch("sse", 3);
    await expect(watcher.reached(9)).rejects.toThrow(expected);
  });
}

test("what continues is folded, and a cut socket is opened again from the cursor", async () => {
  script = [opening(3), event(4), event(5), 1012, opening(5), event(6), synced(6)];
  await using watcher = watch("ws", 3);
  await watcher.reached(6);
  expect([...watcher.seen.keys()]).toEqual([4, 5, 6].map((seq) => `${EPOCH}.${seq}`));
  expect(watcher.openings.map(({ asked }) => asked?.seq)).toEqual([3, 5]);
});

test("a close code that says so ends it", async () => {
  script = [opening(3), 4003];
  const watcher = watch("ws", 3);
  expect(await watcher.over).toMatchObject({ then: "stop", code: 4003 });
});
