import type { ResultFor } from "../client/methods.ts";
import { showConfig } from "../config/print.ts";
import type { Command } from "./args.ts";
import { CONFIG_OPTIONS } from "./configuration.ts";
import { EXIT } from "./exit.ts";
import { outJson } from "./io.ts";
import { readLocalConfig } from "./local-config.ts";
import { staleKeys } from "./service-environment.ts";
import { SYSTEM } from "./systemd-unit.ts";
import { visible } from "./table.ts";
import { TARGET_OPTIONS, connectTo, findTarget } from "./target.ts";

export const configCommands: readonly Command[] = [
  {
    name: "config check",
    summary: "whether the configuration can be used",
    usage: "",
    args: [0, 0],
    options: CONFIG_OPTIONS,
    run: async (input, io) => {
      const { config, warnings, file } = readLocalConfig(input, io);
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
    name: "config reload",
    summary: "has the running gateway read its configuration again",
    usage: "",
    args: [0, 0],
    options: { json: { summary: "as JSON" }, ...TARGET_OPTIONS },
    run: async (input, io) => {
      const target = findTarget(input, io);
      const stale = target.isService ? staleKeys() : [];
      if (stale.length > 0)
        io.err(
          `warning: what ${SYSTEM.environment} says of ${stale.join(", ")} counts from the next start on: systemctl restart agentbus`,
        );
      const client = await connectTo(target);
      try {
        const reloaded = await client.request("system.reload", {});
        if (input.on("json")) outJson(io, reloaded);
        else for (const line of toldOf(reloaded)) io.out(visible(line));
        return EXIT.ok;
      } finally {
        client.disconnect();
      }
    },
  },
  {
    name: "config show",
    summary: "every value and where it came from, secrets masked",
    usage: "",
    args: [0, 0],
    options: { json: { summary: "as JSON" }, ...CONFIG_OPTIONS },
    run: async (input, io) => {
      const { config, sources, file } = readLocalConfig(input, io);
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

function toldOf({ changed, restart_needed }: ResultFor<"system.reload">): string[] {
  return [
    changed.length === 0 ? "nothing has changed" : `changed: ${changed.join(", ")}`,
    ...(restart_needed.length === 0 ? [] : [`from the next start on: ${restart_needed.join(", ")}`]),
  ];
}
