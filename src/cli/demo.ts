import type { Command } from "./args.ts";
import { startDemoGateway } from "./demo-gateway.ts";
import type { DemoGateway } from "./demo-gateway.ts";
import { playDemo } from "./demo-play.ts";
import { EXIT } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { dim } from "./style.ts";

export const demo: Command = {
  name: "demo",
  summary: "see it work: a gateway, two clients, a cut connection, REST",
  usage: "",
  details: [
    "Starts a gateway in a temporary directory, offline, and takes it through a chat. Every step is checked against the",
    "log; the exit code is 0 only if all of them held, so it is the self-test of an installation too.",
  ].join("\n"),
  args: [0, 0],
  options: {},
  run: async (_input, io) => {
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
