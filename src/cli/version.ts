import { BUILD, VERSION } from "../build.ts";
import type { Command } from "./args.ts";
import { EXIT } from "./exit.ts";
import { outJson } from "./io.ts";

/** Of a commit's name as many digits as are enough to find it. */
const COMMIT_DIGITS = 12;

export const version: Command = {
  name: "version",
  summary: "the version of this executable",
  usage: "",
  args: [0, 0],
  options: {
    json: {
      summary: "as JSON, with the commit, the runtime, the platform and the newest databases it reads",
    },
  },
  run: async (input, io) => {
    if (!input.on("json")) {
      io.out(`agentbus ${VERSION}${BUILD === null ? "" : ` (${shorten(BUILD.commit)}, ${BUILD.target})`}`);
      return EXIT.ok;
    }
    // Only here: who asks for the version alone has it at once.
    const { SCHEMAS } = await import("../database-check.ts");
    outJson(io, {
      version: VERSION,
      // Null: built from the sources, by whoever runs it.
      commit: BUILD?.commit ?? null,
      target: BUILD?.target ?? null,
      bun: Bun.version,
      platform: `${process.platform}-${process.arch}`,
      schemas: SCHEMAS,
    });
    return EXIT.ok;
  },
};

function shorten(commit: string): string {
  return commit.replace(/^[0-9a-f]+/, (digits) => digits.slice(0, COMMIT_DIGITS));
}
