import { AMOUNTS, JOURNAL } from "./limit-rows-amounts.ts";
import { STRANGERS } from "./limit-rows-bodies.ts";
import { DEVICES } from "./limit-rows-devices.ts";
import { DOORS, TIMES } from "./limit-rows-doors.ts";
import { FILES, RECEIVING, SENDING } from "./limit-rows-files.ts";
import { FRAMES } from "./limit-rows-frames.ts";
import { SAID } from "./limit-rows-said.ts";
import type { LimitGroup } from "./limit-rows.ts";

/** Every limit that somebody can be refused for. */
export const GROUPS: readonly LimitGroup[] = [
  DOORS,
  TIMES,
  STRANGERS,
  DEVICES,
  FRAMES,
  SAID,
  AMOUNTS,
  FILES,
  RECEIVING,
  SENDING,
  JOURNAL,
];
