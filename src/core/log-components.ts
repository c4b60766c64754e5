/** The parts of a gateway that log as such (`component`), each of which may have a level of its own. */
export const LOG_COMPONENTS = [
  "store",
  "provider",
  "run",
  "tool",
  "skill",
  "plugin",
  "auth",
  "automation",
  "transport",
  "telemetry",
  "config",
] as const;

export type LogComponent = (typeof LOG_COMPONENTS)[number];
