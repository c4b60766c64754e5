import type { LogTail } from "../core/log-tail.ts";
import { logTail } from "../protocol/api/log.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

const LIMIT = 100;

export function logMethods(tail: LogTail): MethodHandler[] {
  return [
    handle(logTail, ({ limit = LIMIT, ...query }) => {
      const { lines, next, gap } = tail.read({ limit, ...query });
      return { lines: [...lines], next, gap };
    }),
  ];
}
