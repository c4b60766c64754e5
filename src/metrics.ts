import type { Config } from "./config.ts";
import type { LogTail } from "./core/log-tail.ts";
import type { PluginView } from "./core/plugins.ts";
import type { Engine } from "./engine.ts";
import type { Otlp } from "./otlp.ts";
import type { ScheduledBackups } from "./scheduled-backups.ts";
import { automationFamilies } from "./telemetry/automation-families.ts";
import { diskFamilies } from "./telemetry/disk-families.ts";
import { gatewayFamilies, refusalFamilies, runFamilies, storeFamilies } from "./telemetry/engine-families.ts";
import type { Source } from "./telemetry/family.ts";
import { by } from "./telemetry/family.ts";
import { modelFamilies, outsideFamilies } from "./telemetry/model-families.ts";
import { processFamilies } from "./telemetry/process-families.ts";
import { upkeepFamilies } from "./telemetry/upkeep-families.ts";

export interface MetricsParts {
  readonly engine: Engine;
  readonly config: Config;
  readonly version: string;
  readonly plugins: { list(): readonly PluginView[] };
  readonly otlp: Pick<Otlp, "families">;
  readonly log_tail: Pick<LogTail, "counts">;
  readonly backups: Pick<ScheduledBackups, "measures">;
}

/** The files of a database of SQLite, by what they are. */
const FILES = { database: "agentbus.db", log: "agentbus.db-wal" };

/** Everything that is measured of this gateway. Nothing is done for it until it is asked for. */
export function metricsOf(given: MetricsParts): Source {
  const { engine, config, version, plugins, otlp, log_tail, backups } = given;
  const { connections, stats, measures, journal, limits, reads, runs, status } = engine;
  const { ledger, router, toolbox } = engine;
  const { max_bytes } = config.storage;
  const parts = { connections, stats, measures, journal, limits, reads, runs, status };
  const inside = { ...parts, max_concurrent_runs: () => config.agent.max_concurrent_runs, version };
  const outside = { ledger, router, toolbox, plugins: () => plugins.list() };
  const disk = {
    data_dir: config.server.data_dir,
    files: FILES,
    max_bytes,
    room: () => engine.maintenance.room.last,
  };
  return () => [
    ...gatewayFamilies(inside),
    ...refusalFamilies(inside),
    by("counter", "agentbus_log_lines", "Lines of the log.", "level", Object.entries(log_tail.counts)),
    ...runFamilies(inside),
    ...modelFamilies(outside),
    ...outsideFamilies(outside),
    ...automationFamilies(engine),
    ...storeFamilies(inside),
    ...diskFamilies(disk),
    ...upkeepFamilies({ stats, backups }),
    ...otlp.families(),
    ...processFamilies(),
  ];
}
