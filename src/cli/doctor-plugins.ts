import { blockedPlugins } from "../plugins.ts";
import type { Finding } from "./doctor.ts";

/** Plug-ins that let nothing else happen, and are kept out for it. */
export function checkBlocked(data_dir: string): Finding[] {
  return blockedPlugins(data_dir).map(({ name, source, at, what }): Finding => {
    const when = new Date(at).toISOString();
    return {
      check: "plug-ins",
      state: "warning",
      finding: `${name} (${source}) is not loaded as it is: at ${when} ${what}`,
      advice:
        "mend it: once its files change it is loaded again; agentbus call plugin.reload loads it as it is",
    };
  });
}
