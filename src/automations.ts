import { createInbound } from "./automation/inbound.ts";
import type { Post } from "./automation/attempts.ts";
import { createOutbound } from "./automation/outbound.ts";
import { createSealer } from "./automation/sealed.ts";
import { ScheduleBook } from "./automation/schedules.ts";
import { Scheduler } from "./automation/scheduler.ts";
import { configured } from "./config/error.ts";
import type { Receive, Schedules, SendFor } from "./core/automation.ts";
import type { Outcome } from "./core/call.ts";
import type { Logger } from "./core/ports.ts";
import type { CredentialBook } from "./auth/credentials.ts";
import { whileLeading } from "./core/leading.ts";
import type { Store } from "./core/store.ts";
import type { UserBook, UserChange } from "./core/users.ts";
import type { Engine } from "./engine.ts";
import { createReach } from "./tool/fetch-reach.ts";
import { resolveHost } from "./tool/fetch-request.ts";
import { createPoster } from "./tool/outbound-post.ts";
import { addressMatcher } from "./auth/address.ts";
import { localPrincipal } from "./local-call.ts";
import { hookMethods } from "./method/hook.ts";
import { webhookMethods } from "./method/webhook.ts";
import { scheduleMethods } from "./method/schedule.ts";
import { chatSend } from "./protocol/api/chat.ts";
import type { LiveConfig } from "./settings.ts";

/** What happens without anybody connected: deliveries that come in, and what is due. */
export interface Automations {
  readonly receive: Receive;
  /** The users, and with one who is deleted what they had set up. */
  readonly users: UserBook;
  /** See Sealer. Once it was loaded. */
  keyFor(purpose: string): Buffer;
  /** After the store was opened, before anything is served. */
  load(): Promise<void>;
  /** Once everything is served: what is due is done from now on. */
  start(): void;
  /** Begins nothing more. Idempotent. */
  stop(): Promise<void>;
}

/** Constructs the automation ring over an engine and adds its methods. */
export function createAutomations(
  engine: Engine,
  { users, makers }: Pick<CredentialBook, "users" | "makers">,
  { live, config }: LiveConfig,
  log: Logger,
): Automations {
  const { store, audit, registry, directory, journal, limits, clock, stats } = engine;
  const { cluster } = store;
  const shared = cluster === undefined ? null : { cluster, file: config.cluster.key_file };
  const sealer = createSealer(config.server.data_dir, shared);
  const send = senderOf(engine);
  const inbound = createInbound({ clock, limits, log, audit, sealer, send, makers, stats });
  const book = new ScheduleBook({ clock, limits, makers });
  const isOpen = (run_id: string): boolean | Promise<boolean> =>
    engine.runs.get(run_id) !== undefined || (cluster !== undefined && isOpenElsewhere(store, run_id));
  const scheduler = new Scheduler({ book, clock, log, journal, limits, send, makers, isOpen, stats });
  const schedules = schedulesOf(book, scheduler);
  const outbound = createOutbound({ ...engine, log, makers, sealer, ...posterOf(live) });
  const deps = { inbound, schedules, outbound, limits, directory, journal, clock };
  for (const method of [...hookMethods(deps), ...scheduleMethods(deps), ...webhookMethods(deps)])
    registry.add(method);
  /** One node says what is due and delivers, for all of them. */
  const begin = (): void => {
    scheduler.start();
    outbound.start();
  };
  const stop = async (): Promise<void> => {
    await Promise.all([scheduler.stop(), outbound.stop()]);
  };
  let end = (): void => undefined;
  engine.mirrors.add(...inbound.mirrors(store), ...book.mirrors(store), ...outbound.mirrors());
  return {
    receive: inbound.receive,
    users: {
      ...users,
      forget: (user) => together([users, inbound, book, outbound].map((each) => () => each.forget(user))),
    },
    keyFor: (purpose) => sealer.keyFor(purpose),
    async load() {
      await sealer.load();
      await inbound.load(store);
      await book.load(store);
      await outbound.load();
    },
    start() {
      // What is appended on other nodes is owed, too.
      const { owed } = engine;
      cluster?.onGrown((grown) => (grown ?? owed.all()).forEach((id) => owed.grown(id)));
      end = whileLeading(store, { begin, end: () => void stop() });
    },
    async stop() {
      end();
      await stop();
    },
  };
}

async function isOpenElsewhere(store: Store, run_id: string): Promise<boolean> {
  const run = await store.run(run_id);
  return run?.status === "queued" || run?.status === "running";
}

/** Each attempt goes by what may be reached by then. */
function posterOf(live: LiveConfig["live"]) {
  const poster = live.derive(({ webhooks }) => {
    const reach = configured(() => createReach(webhooks.allow, addressMatcher, "webhooks.allow"));
    return createPoster({ reach, resolve: resolveHost });
  });
  const post: Post = (url, headers, body, signal) => poster.now.post(url, headers, body, signal);
  return { post, checkUrl: (url: string) => poster.now.check(url) };
}

function schedulesOf(book: ScheduleBook, scheduler: Scheduler): Schedules {
  return {
    create: (by, params) => book.create(by, params),
    list: (user) => book.list(user),
    update: (by, params) => book.update(by, params),
    remove: (by, id) => book.remove(by, id),
    run: async (by, id) => scheduler.run(book.require(by, id)),
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
