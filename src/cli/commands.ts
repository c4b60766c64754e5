import type { Command } from "./args.ts";
import { audit } from "./audit.ts";
import { backup, repair, restore } from "./backup.ts";
import { call } from "./call.ts";
import { chat } from "./chat.ts";
import { completionsCommand } from "./completions.ts";
import { configCommands } from "./config.ts";
import { deviceCommands } from "./device.ts";
import { deviceKey, devicePair } from "./device-pair.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { hookCommands } from "./hook.ts";
import { exportCommand } from "./export.ts";
import { importCommand } from "./import.ts";
import { init } from "./init.ts";
import { logs } from "./logs.ts";
import { migrate } from "./migrate.ts";
import { password } from "./password.ts";
import { scheduleCommands } from "./schedule.ts";
import { search } from "./search.ts";
import { serve } from "./serve.ts";
import { serviceCommands } from "./service-commands.ts";
import { status } from "./status.ts";
import { tokenCommands } from "./token.ts";
import { upgrade } from "./upgrade.ts";
import { usage } from "./usage.ts";
import { userCommands } from "./user.ts";
import { version } from "./version.ts";
import { webhookCommands } from "./webhook.ts";
import { watch } from "./watch.ts";

/** Everything the command line can do, in the order the help tells it. */
export const commands: readonly Command[] = [
  serve,
  status,
  init,
  demo,
  chat,
  watch,
  search,
  call,
  ...configCommands,
  ...tokenCommands,
  devicePair,
  deviceKey,
  ...deviceCommands,
  password,
  ...userCommands,
  ...hookCommands,
  ...scheduleCommands,
  ...webhookCommands,
  audit,
  logs,
  usage,
  backup,
  restore,
  repair,
  migrate,
  exportCommand,
  importCommand,
  doctor,
  ...serviceCommands,
  upgrade,
  completionsCommand(() => commands),
  version,
];
