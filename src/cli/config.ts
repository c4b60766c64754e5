import { showConfig } from "../config/print.ts";
import type { Command } from "./args.ts";
import { CONFIG_OPTIONS, readConfig } from "./configuration.ts";
import { EXIT } from "./exit.ts";
import { outJson } from "./io.ts";

export const configCommands: readonly Command[] = [
  {
    name: "config check",
    summary: "whether the configuration can be used",
    usage: "",
    args: [0, 0],
    options: CONFIG_OPTIONS,
    run: async (input, io) => {
      const { config, warnings, file } = readConfig(input, io);
      // Some of it only shows when everything is put together, which opens nothing.
      const [{ createGateway }, { createLogger }] = await Promise.all([
        import("../embed/create.ts"),
        import("../log.ts"),
      ]);
      createGateway(config, { log: createLogger({ ...config.log, level: "silent" }) });
      for (const warning of warnings) io.err(`warning: ${warning}`);
      io.out(`the configuration is valid (${file ?? "no file: defaults, environment and flags"})`);
      return EXIT.ok;
    },
  },
  {
    name: "config show",
    summary: "every value and where it came from, secrets masked",
    usage: "",
    args: [0, 0],
    options: { json: { summary: "as JSON" }, ...CONFIG_OPTIONS },
    run: async (input, io) => {
      const { config, sources, file } = readConfig(input, io);
      const text = showConfig(config, sources);
      if (input.on("json")) {
        outJson(io, { file, values: Bun.TOML.parse(text), sources: Object.fromEntries(sources) });
      } else {
        if (file !== null) io.out(`# ${file}\n`);
        io.write(text);
      }
      return EXIT.ok;
    },
  },
];
