import type { Command, Input } from "./args.ts";
import type { CheckResult } from "./conformance.ts";
import { runChecks } from "./conformance.ts";
import { World } from "./conformance-world.ts";
import { startDemoGateway } from "./demo-gateway.ts";
import type { DemoGateway } from "./demo-gateway.ts";
import { playDemo } from "./demo-play.ts";
import { EXIT } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { dim } from "./style.ts";
import { visible } from "./table.ts";
import { findTarget, TARGET_OPTIONS } from "./target.ts";
import { resolveTrust } from "./trust.ts";

export const demo: Command = {
  name: "demo",
  summary: "see it work: a gateway, two clients, a cut connection, REST",
  usage: "",
  details: [
    "With --url nothing is started: the server there, or what stands before one, is held against the protocol instead. Each",
    "check is a line, ok, FAIL or skipped; the exit code is 0 only if none failed. It needs no administrator's credential, only",
    "one that may chat and delete its own sessions, and leaves nothing behind.",
    "",
    "Starts a gateway in a temporary directory, offline, and takes it through a chat. Every step is checked against the",
    "log; the exit code is 0 only if all of them held, so it is the self-test of an installation too.",
  ].join("\n"),
  args: [0, 0],
  options: {
    ...TARGET_OPTIONS,
    json: { summary: "with --url: the results as JSON" },
  },
  run: async (input, io) => {
    if (input.text("url") !== undefined) return conformTo(input, io);
    io.out("A gateway in a temporary directory, two clients, one conversation. Nothing of it stays.");
    const story = createStory(io);
    const began = performance.now();
    const gateway = await startDemoGateway();
    const clear = (): void => void gateway.remove().then(() => process.exit(130));
    process.once("SIGINT", clear);
    try {
      story.held(
        `the gateway listens on ${gateway.url} (started in ${Math.round(performance.now() - began)} ms)`,
      );
      await playDemo(gateway, story);
      await stop(gateway, story);
      io.out("\nEverything held.");
      return EXIT.ok;
    } catch (error) {
      io.out(`  ✗ ${explain(error)}`);
      io.err("agentbus: the demo failed");
      return EXIT.failed;
    } finally {
      process.off("SIGINT", clear);
      await gateway.remove();
    }
  },
};

/** Holds a server against the protocol. */
async function conformTo(input: Input, io: Io): Promise<number> {
  const target = findTarget(input, io);
  const world = new World(target, await resolveTrust(target.trust, target.url));
  const isJson = input.on("json");
  const results = await runChecks(world, (result) => {
    if (!isJson) for (const line of linesOf(result)) io.out(line);
  });
  const count = (status: CheckResult["status"]): number =>
    results.filter((each) => each.status === status).length;
  const sums = { ok: count("ok"), failed: count("FAIL"), skipped: count("skipped") };
  if (isJson) outJson({ ...io, tty: false }, { url: world.url, ...sums, checks: results });
  else io.out(`${sums.ok} ok, ${sums.failed} failed, ${sums.skipped} skipped`);
  return sums.failed === 0 ? EXIT.ok : EXIT.failed;
}

function linesOf({ status, name, expected, seen }: CheckResult): string[] {
  const head = `${status.padEnd(8)}${name.padEnd(26)}`;
  if (status === "ok") return [`${head}${visible(seen)}`];
  return [`${head}expected: ${expected}`, `${" ".repeat(34)}seen: ${visible(seen)}`];
}

/** How the demo tells what happens. */
export interface Story {
  /** A step that was checked. */
  held(line: string): void;
  /** Something to read on the way. */
  tell(line: string): void;
  /** Text as it is written. */
  stream(text: string): void;
  /** The end of the text. */
  streamed(): void;
}

function createStory(io: Io): Story {
  return {
    held: (line) => io.out(`  ✓ ${line}`),
    tell: (line) => io.out(`    ${line}`),
    stream: (text) => io.write(dim(io, text.replaceAll("\n", "\n    "))),
    streamed: () => io.out(""),
  };
}

async function stop(gateway: DemoGateway, story: Story): Promise<void> {
  const code = await gateway.stop();
  if (code !== 0) throw new Error(`the gateway ended with ${code} when it was asked to stop`);
  story.held("asked to stop, the gateway ended well (exit code 0)");
}
