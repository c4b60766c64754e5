import { join } from "node:path";
import { isatty } from "node:tty";
import { day } from "../certificate.ts";
import type { Gateway, Started } from "../embed/gateway.ts";
import { outsideAddresses } from "../listeners.ts";
import { forgetOpening } from "../opening.ts";
import type { Command } from "./args.ts";
import { VERSION } from "../build.ts";
import type { Config } from "./configuration.ts";
import { CONFIG_OPTIONS, readConfig } from "./configuration.ts";
import { EXIT } from "./exit.ts";
import type { Io } from "./io.ts";
import { raiseFetchLimit, selfCommand, startAnew } from "./self.ts";
import { dim } from "./style.ts";

const STDOUT = 1;

export const serve: Command = {
  name: "serve",
  summary: "run the gateway",
  usage: "",
  details: [
    "SIGTERM or Ctrl-C stops it: answers that are being written get server.shutdown_grace_secs; a second signal stops it at",
    "once. Everything that was acknowledged is on disk either way. SIGUSR2 stops it in the same order and starts what is in the place",
    "of this executable by then, in the same process.",
    "",
    "SIGHUP reads the configuration again, as a change of its file does: what can count at once does, and nothing is cut off.",
    "",
    "--takeover puts this process in the place of the one that runs on the same data directory: that one is asked to stop as by",
    "SIGTERM, and as soon as it has, this one listens. Clients come back by themselves.",
  ].join("\n"),
  args: [0, 0],
  options: {
    ...CONFIG_OPTIONS,
    takeover: { summary: "take the place of the gateway that runs on this data directory" },
  },
  run: async (input, io) => {
    const first = readConfig(input, io);
    const { config, warnings } = first;
    raiseFetchLimit(config.agent.max_concurrent_runs);
    // The commands of a client start without the gateway in them.
    const [{ createGateway }, { createLogger }] = await Promise.all([
      import("../embed/create.ts"),
      import("../log.ts"),
    ]);
    const log = createLogger(config.log);
    for (const warning of warnings) log.warn({}, warning);
    // By its path: another one may be there when it is started anew.
    const program = selfCommand();
    const { data_dir } = config.server;
    const stop = waitForStop(program, () => forgetOpening(data_dir));
    const gateway = createGateway(config, {
      log,
      ...(process.execve !== undefined && { executable: program[0] ?? process.execPath }),
      ownsProcess: true,
      takeover: input.on("takeover"),
      source: { first, read: () => readConfig(input, io) },
      onOpening: stop.opens,
      onFatal: () => process.exit(EXIT.failed),
    });
    const started = await Promise.race([gateway.start(), stop.beforeOpen]);
    if (started === null) {
      log.info({}, "stopped before the database was open: the next start begins that anew");
      return EXIT.ok;
    }
    stop.onHangup(() => reloadOf(gateway));
    stop.runs();
    if (io.tty) greet(started, config.server, io);
    else log.info(listening(started), "listening");
    await stop.first;
    if (io.tty) io.err("stopping; once more stops at once");
    const stopped = gateway.stop();
    // Ends the answers that still have time; what then remains of the first stop takes no longer than it must.
    void stop.second.then(() => gateway.stop({ graceMs: 0 }));
    await stopped;
    if (stop.anew()) startAnew(program);
    return EXIT.ok;
  },
};

/** What is wrong is in the log. */
function reloadOf(gateway: Gateway): void {
  try {
    gateway.reload();
  } catch {
    // The last one stays.
  }
}

function listening({ url, urls, certificate }: Started): Record<string, unknown> {
  const tls = certificate === null ? {} : { fingerprint: certificate.fingerprint };
  return { url, urls, version: VERSION, pid: process.pid, ...tls };
}

/** What a person reads at the terminal; the token only when nobody can have seen it before. */
function greet({ url, urls, token, certificate }: Started, server: Config["server"], io: Io): void {
  io.out(`agentbus ${VERSION}`);
  for (const each of urls) io.out(`  listening  ${each}`);
  for (const address of outsideAddresses(server.host)) {
    const { protocol, port } = new URL(url);
    io.out(`  elsewhere  ${protocol}//${address}:${port}`);
  }
  if (certificate !== null) {
    io.out(`  SHA-256    ${certificate.fingerprint}`);
    const how = certificate.selfSigned
      ? "nobody vouches for this certificate: elsewhere, compare this, or give it with --fingerprint"
      : `the certificate, valid until ${day(certificate.expiresAt)}`;
    io.out(dim(io, `             ${how}`));
  }
  if (token?.created === true) {
    io.out(`  token      ${token.value}`);
    io.out(
      dim(io, `             shown this once; the commands here find it in ${join(server.data_dir, "token")}`),
    );
  }
  io.out(dim(io, "  Ctrl-C stops it"));
}

interface Signals {
  readonly first: Promise<void>;
  /**
   * Before the database is open there is no use in waiting, for whoever has the data directory or for what takes long, and what is done may
   * be cut off anywhere.
   */
  readonly beforeOpen: Promise<null>;
  readonly second: Promise<void>;
  /** SIGHUP, unless it says that the terminal is gone. */
  onHangup(told: () => void): void;
  /** What is done to open the database; null: it is over. */
  opens(this: void, doing: string | null): void;
  /** From now on it has to be stopped before it is started anew. */
  runs(): void;
  /** Whether it is stopped to be started anew. */
  anew(): boolean;
}

/** The signals to stop; a third one waits for nothing. `forget` takes back what says that the database is being opened. */
function waitForStop(program: readonly string[], forget: () => void): Signals {
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  const beforeOpen = Promise.withResolvers<null>();
  let isOpen = false;
  /** What the data directory says of opening is of this process. */
  let opens = false;
  let signals = 0;
  let running = false;
  let anew = false;
  const cutOff = (): void => {
    if (isOpen || signals === 0) return;
    if (opens) forget();
    beforeOpen.resolve(null);
  };
  const onSignal = (): void => {
    signals++;
    anew = false;
    if (signals === 1) first.resolve();
    cutOff();
    if (signals === 2) second.resolve();
    if (signals === 3) process.exit(EXIT.failed);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  const wasTerminal = isatty(STDOUT);
  let hangup = (): void => undefined;
  // A terminal that is gone is none any more, and who used it wants no gateway to stay behind.
  process.on("SIGHUP", () => (wasTerminal && !isatty(STDOUT) ? onSignal() : hangup()));
  if (process.execve !== undefined) {
    process.on("SIGUSR2", () => {
      // One that does not get to listen has acknowledged nothing.
      if (opens) forget();
      if (!running) startAnew(program);
      anew = signals === 0;
      first.resolve();
    });
  }
  return {
    first: first.promise,
    second: second.promise,
    beforeOpen: beforeOpen.promise,
    opens(doing) {
      opens = doing !== null;
      isOpen = !opens;
      cutOff();
    },
    onHangup: (told) => (hangup = told),
    runs: () => void (running = true),
    anew: () => anew,
  };
}
