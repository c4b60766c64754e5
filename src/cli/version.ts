import type { Command } from "./args.ts";
import { VERSION } from "./about.ts";
import { outJson } from "./io.ts";

export const version: Command = {
  name: "version",
  summary: "the version of this executable",
  usage: "",
  args: [0, 0],
  options: { json: { summary: "as JSON, with the runtime and the platform" } },
  run: async (input, io) => {
    const facts = { version: VERSION, bun: Bun.version, platform: `${process.platform}-${process.arch}` };
    if (input.on("json")) outJson(io, facts);
    else io.out(`agentbus ${VERSION}`);
    return 0;
  },
};
