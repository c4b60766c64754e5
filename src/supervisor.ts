import type { Clock, Logger } from "./core/ports.ts";
import type { NotifySocket } from "./notify-socket.ts";

/** What started the process and watches it, such as systemd with `Type=notify`. */
export interface Supervisor {
  /** What it does now before it is ready: the start may take as long as that does. Null: that is over. */
  opening(doing: string | null): void;
  /** It can be used: what waits for it may begin. */
  ready(status: string): void;
  /** Does what changes how it works, between two words about it. */
  whileReloading<T>(work: () => T): T;
  /** It stops, and may take so long before that is a failure. */
  stopping(ms: number): void;
  /** Idempotent. */
  close(): void;
}

export interface SupervisorOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Resolves once everything answers without which the process is of no use. */
  readonly answers: () => Promise<void>;
}

/** How often what was not taken is sent again. */
const RETRY_MS = 500;
/** Signs of life in the time after which the process counts as dead. */
const SIGNS = 3;

/** How often it is said that the start goes on. */
const EXTEND_EVERY_MS = 20_000;
/** How long the rest of the start may take from the last time on: as long as the unit gives to all of one. */
const EXTEND_MS = 600_000;

const NOBODY: Supervisor = {
  opening: () => undefined,
  ready: () => undefined,
  whileReloading: (work) => work(),
  stopping: () => undefined,
  close: () => undefined,
};

/** Whoever NOTIFY_SOCKET names; nobody where it names nobody, which costs nothing. */
export async function findSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const address = options.env["NOTIFY_SOCKET"] ?? "";
  if (address === "") return NOBODY;
  try {
    const { openNotifySocket } = await import("./notify-socket.ts");
    return supervisorBehind(openNotifySocket(address), options);
  } catch (error) {
    options.log.warn({ err: error }, "the service manager cannot be told that the gateway runs");
    return NOBODY;
  }
}

function supervisorBehind(socket: NotifySocket, options: SupervisorOptions): Supervisor {
  const { clock, log } = options;
  /** What was not taken yet, oldest first. */
  const waiting: string[] = [];
  const cancels: (() => void)[] = [];
  let isClosed = false;
  let isTold = false;
  let endOpening: (() => void) | null = null;

  function send(text: string): void {
    waiting.push(text);
    flush();
  }
  function flush(): void {
    while (waiting[0] !== undefined && socket.send(waiting[0])) waiting.shift();
    if (waiting.length === 0 || isTold) return;
    isTold = true;
    log.warn({}, "the service manager does not take what it is told; it is told again until it does");
    cancels.push(clock.every(RETRY_MS, flush));
  }
  /** That this runs proves that the event loop turns; a sign that is late may have become untrue, and is not sent again. */
  function sign(text: string): void {
    if (waiting.length === 0) socket.send(text);
  }

  return {
    opening(doing) {
      if (doing !== null) send(`STATUS=${doing}\n${extended(EXTEND_MS)}`);
      if (doing !== null && endOpening === null) {
        endOpening = clock.every(EXTEND_EVERY_MS, () => sign(extended(EXTEND_MS)));
        cancels.push(endOpening);
      }
      if (doing === null) endOpening?.();
    },
    ready(status) {
      send(`READY=1\nSTATUS=${status}`);
      const dead_ms = deadAfter(options);
      if (dead_ms === null) return;
      cancels.push(
        clock.every(
          dead_ms / SIGNS,
          whileAnswering(options.answers, () => sign("WATCHDOG=1")),
        ),
      );
    },
    whileReloading(work) {
      // The clock is the one systemd goes by, too.
      send(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1_000n}`);
      try {
        return work();
      } finally {
        send("READY=1");
      }
    },
    stopping: (ms) => send(`STOPPING=1\nSTATUS=stopping\n${extended(ms)}`),
    close() {
      if (isClosed) return;
      isClosed = true;
      for (const cancel of cancels) cancel();
      socket.close();
    },
  };
}

function extended(ms: number): string {
  return `EXTEND_TIMEOUT_USEC=${Math.ceil(ms) * 1_000}`;
}

/** Calls `sign` after each time that everything answered; what still waits for its answer is not asked again. */
function whileAnswering(answers: () => Promise<void>, sign: () => void): () => void {
  let isAsking = false;
  return () => {
    if (isAsking) return;
    isAsking = true;
    void answers()
      // What fails is told by whom it fails; here it is no sign of life.
      .then(sign, () => undefined)
      .finally(() => (isAsking = false));
  };
}

/** Milliseconds; null: nobody waits for signs of life of this process. */
function deadAfter({ env, pid }: SupervisorOptions): number | null {
  const micros = Number(env["WATCHDOG_USEC"] ?? "");
  const of = env["WATCHDOG_PID"] ?? "";
  return micros > 0 && (of === "" || Number(of) === pid) ? micros / 1_000 : null;
}
