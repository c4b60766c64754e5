import type { Access } from "./access.ts";
import { createInbound } from "./automation/inbound.ts";
import { createSealer } from "./automation/sealed.ts";
import type { Config } from "./config.ts";
import type { Receive, SendFor } from "./core/automation.ts";
import type { Outcome } from "./core/call.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { UserBook, UserChange } from "./core/users.ts";
import type { Engine } from "./engine.ts";
import { localPrincipal } from "./local-call.ts";
import { hookMethods } from "./method/hook.ts";
import { chatSend } from "./protocol/api/chat.ts";

/** What happens without anybody connected: deliveries that come in. */
export interface Automations {
  readonly receive: Receive;
  /** The users, and with one who is deleted what they had set up. */
  readonly users: UserBook;
  /** After the store was opened, before anything is served. */
  load(): Promise<void>;
}

/** Constructs the automation ring over an engine and adds its methods. */
export function createAutomations(
  engine: Engine,
  access: Access,
  config: Config,
  clock: Clock,
  log: Logger,
): Automations {
  const { store, audit, registry, directory, journal } = engine;
  const { limits } = config;
  const { users } = access.credentials;
  const isShutOut = (user: string): boolean => users.isShutOut(user);
  const sealer = createSealer(config.server.data_dir);
  const send = senderOf(engine);
  const inbound = createInbound({ clock, limits, log, audit, sealer, send, isShutOut });
  for (const method of hookMethods({ inbound, directory, journal, clock })) registry.add(method);
  return {
    receive: inbound.receive,
    users: {
      ...users,
      forget: (user) => together([() => users.forget(user), () => inbound.forget(user)]),
    },
    load: () => inbound.load(store),
  };
}

/** What somebody set up may do no more for them than say something. */
function senderOf({ registry }: Engine): SendFor {
  return ({ owner, scopes }, from, params) =>
    new Promise<Outcome>((answer) => {
      const principal = localPrincipal(owner, scopes);
      const caller = { principal, transport: "local", connection: null, ...from } as const;
      registry.dispatch(caller, { method: chatSend.name, params }, answer);
    });
}

/** Several changes about a user as one. @throws what one of them throws; nothing is left changing then */
function together(parts: readonly (() => UserChange)[]): UserChange {
  const changes: UserChange[] = [];
  try {
    for (const part of parts) changes.push(part());
  } catch (error) {
    for (const { undo } of changes) undo();
    throw error;
  }
  return {
    rows: changes.flatMap(({ rows }) => rows),
    commit: () => changes.forEach(({ commit }) => commit()),
    undo: () => changes.forEach(({ undo }) => undo()),
  };
}
