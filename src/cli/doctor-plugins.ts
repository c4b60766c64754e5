import { blockedPlugins, inspectPlugins } from "../plugins.ts";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";
import { readRunning } from "./running.ts";
import { connectTo, localTarget } from "./target.ts";

const CHECK = "plug-ins";
const MEND = "mend it: a gateway that runs loads it by itself";

/** How each plug-in is, by the gateway that runs; without one, whether it may be loaded. None of them is run for it. */
export async function checkPlugins(config: Config): Promise<Finding[]> {
  const { data_dir } = config.server;
  const found = readRunning(data_dir) === null ? await checkFiles(config) : await askRunning(config);
  const all = [...found, ...checkBlocked(data_dir)];
  if (all.length > 0) return all;
  return [{ check: CHECK, state: "ok", finding: "none; a TypeScript file in <data_dir>/plugins is one" }];
}

async function askRunning(config: Config): Promise<Finding[]> {
  try {
    const client = await connectTo(localTarget(config));
    try {
      const { plugins, directories } = await client.request("plugin.list", {});
      const wrong = directories.flatMap(({ directory, reason }) =>
        reason === undefined ? [] : [{ source: directory, reason }],
      );
      return [...wrong.map(refused), ...plugins.map(judge)];
    } finally {
      client.disconnect();
    }
  } catch {
    // That the gateway does not answer is a finding already.
    return [];
  }
}

interface Listed {
  readonly name: string;
  readonly state: "ready" | "stale" | "failed";
  readonly source: string;
  readonly reason?: string | undefined;
}

function judge({ name, state, source, reason = "" }: Listed): Finding {
  if (state === "ready") return { check: CHECK, state: "ok", finding: `${name} (${source}): ready` };
  if (state === "failed") return refused({ source: `${name} (${source})`, reason });
  const finding = `${name} (${source}): its last good version is used: ${reason}`;
  return { check: CHECK, state: "warning", finding, advice: MEND };
}

async function checkFiles(config: Config): Promise<Finding[]> {
  return (await inspectPlugins(config)).map(({ source, reason }) => {
    if (reason !== null) return refused({ source, reason });
    return { check: CHECK, state: "ok", finding: `${source}: loaded by a gateway that runs` };
  });
}

function refused({ source, reason }: { readonly source: string; readonly reason: string }): Finding {
  return { check: CHECK, state: "failed", finding: `${source} is not loaded: ${reason}`, advice: MEND };
}

/** Plug-ins that let nothing else happen, and are kept out for it. */
function checkBlocked(data_dir: string): Finding[] {
  return blockedPlugins(data_dir).map(({ name, source, at, what }): Finding => {
    const when = new Date(at).toISOString();
    return {
      check: CHECK,
      state: "warning",
      finding: `${name} (${source}) is not loaded as it is: at ${when} ${what}`,
      advice:
        "mend it: once its files change it is loaded again; agentbus call plugin.reload loads it as it is",
    };
  });
}
