import { LogTail } from "./core/log-tail.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { Engine } from "./engine.ts";
import { tapLog } from "./log.ts";
import { logMethods } from "./method/log.ts";

/** Keeps the newest lines of the log, for whoever may read them; of a log that a program brought along there are none. */
export function keepLog(log: Logger, engine: Engine, clock: Clock): LogTail {
  // No process writes a line each millisecond for as long as it lives: numbers of the next one are larger.
  const tail = new LogTail(clock.now());
  tapLog(log, (line) => tail.take(line));
  for (const method of logMethods(tail)) engine.registry.add(method);
  return tail;
}
