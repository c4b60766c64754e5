/**
 * A client that behaves, in a process of its own so that no attack of a test can slow it down by keeping the test
 * busy: it asks for system.status every 10 ms and tells how long the answers take.
 *
 * Arguments: the WebSocket's URL, and the token ("": none). Over IPC it takes `Ask` and answers each with a `Told`.
 */
const EVERY_MS = 10;
/** Requests that may be unanswered; the gateway takes 16 at once. */
const OPEN_MAX = 15;
/** Quiet answers that are remembered. */
const QUIET_KEPT = 250;

/**
 * "begin": what comes now is during a case; "begin anew": the same, after quiet answers that are all new; "end": it is
 * over. Each waits until there are `samples` answers.
 */
export interface Ask {
  readonly ask: "begin" | "begin anew" | "end";
  readonly samples: number;
}

export interface Told {
  readonly samples: number;
  /** 99th percentile of the answers before the case, and during it. */
  readonly before_ms: number;
  readonly during_ms: number;
  /** Why this client could not go on; null: it did. */
  readonly failed: string | null;
}

/** Of fewer than a hundred, the second slowest: a machine that is busy may be late once. */
function p99(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(Math.ceil(sorted.length * 0.99) - 1, sorted.length - 2)] ?? Number.NaN;
}

function run(url: string, token: string): void {
  const headers = token === "" ? {} : { authorization: `Bearer ${token}` };
  const BunWebSocket = WebSocket as unknown as new (url: string, options: object) => WebSocket;
  // The certificate of a gateway under test is nobody's but its own.
  const socket = new BunWebSocket(url, { headers, tls: { rejectUnauthorized: false } });
  const open = new Map<string, number>();
  let quiet: number[] = [];
  let during: number[] = [];
  let attacked = false;
  let failed: string | null = null;
  let requests = 0;
  let waiting: Ask | null = null;

  /** Answers an `Ask` once everything it has to hold is known. */
  const settle = (): void => {
    if (waiting === null) return;
    const seen = waiting.ask === "end" ? during : quiet;
    if (failed === null && seen.length < waiting.samples) return;
    // What was asked during the case and is not answered yet is the slowest of it.
    if (failed === null && waiting.ask === "end" && open.size > 1) return;
    const told: Told = {
      samples: seen.length,
      before_ms: p99(quiet),
      during_ms: p99(during),
      failed,
    };
    attacked = waiting.ask !== "end";
    waiting = null;
    during = [];
    process.send?.(told);
  };
  const fail = (reason: string): void => {
    failed ??= reason;
    settle();
  };

  socket.addEventListener("open", () => {
    setInterval(() => {
      if (socket.readyState !== WebSocket.OPEN || open.size >= OPEN_MAX) return;
      const id = String(++requests);
      open.set(id, performance.now());
      socket.send(JSON.stringify({ type: "req", id, method: "system.status" }));
    }, EVERY_MS);
  });
  socket.addEventListener("message", ({ data }) => {
    const frame = JSON.parse(String(data)) as { id?: string; ok?: boolean; error?: unknown };
    const sent = open.get(frame.id ?? "");
    if (sent === undefined) return;
    open.delete(frame.id ?? "");
    if (frame.ok !== true) return fail(`was refused: ${JSON.stringify(frame.error)}`);
    const took = performance.now() - sent;
    if (attacked) during.push(took);
    else quiet = [...quiet, took].slice(-QUIET_KEPT);
    settle();
    return undefined;
  });
  socket.addEventListener("close", ({ code, reason }) => fail(`was closed: ${code} ${reason}`));
  process.on("message", (message) => {
    waiting = message as Ask;
    if (waiting.ask === "begin anew") {
      attacked = false;
      quiet = [];
    }
    settle();
  });
  process.on("disconnect", () => process.exit(0));
}

if (import.meta.main) run(Bun.argv[2] ?? "", Bun.argv[3] ?? "");
