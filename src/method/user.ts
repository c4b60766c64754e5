import { isImporter } from "../core/importing.ts";
import type { Static } from "@sinclair/typebox";
import { Serial } from "../core/serial.ts";
import type { Inheritance, KnownUser, UserChange } from "../core/users.ts";
import { userDelete, userDisable, userList } from "../protocol/api/user.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";
import { SCOPES } from "../protocol/schema.ts";
import { appendAndWait } from "./append.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import type { RemovalDeps, Removals } from "./user-removal.ts";

export interface UserDeps extends RemovalDeps {
  readonly removals: Removals;
  /** Users whom the configuration lets in by themselves, and as what. */
  readonly named: () => ReadonlyMap<string, readonly Scope[]>;
  /** The role that allows just these scopes; null: none does. */
  readonly roleOf: (scopes: readonly string[]) => Role | null;
  /** A user was shut out: their connections go. Called a turn of the event loop after the answer. */
  readonly onShutOut: (user: string) => void;
}

type UserInfo = Static<typeof userList.result>["users"][number];
type Role = NonNullable<UserInfo["role"]>;

const NOTHING: Omit<KnownUser, "user"> = { disabled: false, deleting: false, scopes: [], counts: {} };

export function userMethods(deps: UserDeps): MethodHandler[] {
  // Of two administrators who shut each other out the second finds that they are out already: one is always left.
  const changes = new Serial();
  const decide = async (user: string, call: Call, work: () => Promise<undefined>): Promise<undefined> =>
    changes.run("", async () => {
      call.requireLive();
      deps.users.requireOpen(user);
      if (user === call.user) {
        throw conflict(
          "you cannot do this to yourself: let another administrator do it, so that one is left",
        );
      }
      if (!(await everybody(deps)).has(user)) throw noUser(user);
      return work();
    });
  return [
    handle(userList, async (params) => list(deps, params)),
    handle(userDisable, ({ user, disabled = true }, call) =>
      decide(user, call, () => (disabled ? disable(deps, user, call) : enable(deps, user, call))),
    ),
    handle(userDelete, (params, call) => {
      const inheritance = inheritanceOf(params);
      return decide(params.user, call, () => remove(deps, params.user, inheritance, call));
    }),
  ];
}

/** Who exists, by name, with how many sessions they have. */
async function everybody({
  users,
  store,
  named,
}: UserDeps): Promise<Map<string, KnownUser & { sessions: number }>> {
  const all = new Map(users.users().map((known) => [known.user, { ...known, sessions: 0 }]));
  for (const [user, granted] of named()) {
    const found = all.get(user) ?? { user, ...NOTHING, sessions: 0 };
    all.set(user, {
      ...found,
      scopes: SCOPES.filter((each) => [...found.scopes, ...granted].includes(each)),
    });
  }
  for (const { user, sessions } of await store.owners()) {
    if (isImporter(user)) continue;
    all.set(user, { user, ...(all.get(user) ?? NOTHING), sessions });
  }
  return all;
}

async function list(deps: UserDeps, { limit = 100, cursor = "" }: Static<typeof userList.params>) {
  const all = [...(await everybody(deps)).values()]
    .filter(({ user }) => user > cursor)
    .toSorted((a, b) => (a.user < b.user ? -1 : 1));
  const users = all.slice(0, limit).map((each): UserInfo => {
    const { user, disabled, deleting, scopes, counts, sessions, last_used_at } = each;
    const role = deps.roleOf(scopes);
    return {
      user,
      disabled,
      ...(deleting && { deleting }),
      ...(role !== null && { role }),
      scopes: [...scopes],
      tokens: counts["token"] ?? 0,
      devices: counts["device"] ?? 0,
      auth_sessions: counts["auth_session"] ?? 0,
      sessions,
      connections: [...deps.connections.ofUser(user)].length,
      ...(last_used_at !== undefined && { last_used_at }),
    };
  });
  const last = users.at(-1);
  return { users, ...(all.length > users.length && last !== undefined && { next: last.user }) };
}

async function disable(deps: UserDeps, user: string, call: Call): Promise<undefined> {
  const change = deps.users.disable(user, call.user);
  return write(deps, call, change, () => {
    shutOut(deps, user, call.user, "user disabled");
    return { user, disabled: true };
  });
}

async function enable(deps: UserDeps, user: string, call: Call): Promise<undefined> {
  return write(deps, call, deps.users.enable(user), () => ({ user, disabled: false }));
}

async function remove(
  deps: UserDeps,
  user: string,
  inheritance: Inheritance,
  call: Call,
): Promise<undefined> {
  if (deps.named().has(user)) {
    throw conflict(`auth.tailscale.users lets ${user} in: take them out of it first, or disable them`);
  }
  const from = deps.users.removals().find((each) => heirOf(each.inheritance) === user);
  if (from !== undefined) {
    throw conflict(
      `${user} is being given the sessions of ${from.user}: try again once ${from.user} is gone`,
    );
  }
  if (inheritance.sessions === "transfer") await checkHeir(deps, user, inheritance.transfer_to);
  const removal = { user, by: call.user, inheritance };
  const change = deps.users.remove(removal);
  let decided = false;
  await write(deps, call, change, () => {
    decided = true;
    shutOut(deps, user, call.user, "user deleted");
  });
  if (!decided) return;
  // The others that decide something need not wait for it.
  void deps.removals.finish(removal).then(
    (sessions) => call.ok({ deleted: true, sessions }),
    (error: unknown) => call.fail(error),
  );
}

function write(
  { journal, clock }: UserDeps,
  call: Call,
  { rows, commit, undo }: UserChange,
  answer: () => unknown,
): Promise<undefined> {
  return appendAndWait(call, journal, clock.now(), {
    session: null,
    events: [],
    rows,
    remember: {},
    committed: () => {
      commit();
      return answer();
    },
    undo,
  }).then(() => undefined);
}

/** In the block of the commit. A turn later what was under way in it has its runs, too. */
export function shutOut(
  { clock, runs, onShutOut }: Pick<UserDeps, "clock" | "runs" | "onShutOut">,
  user: string,
  by: string,
  reason: string,
): void {
  clock.after(0, () => {
    onShutOut(user);
    void runs.stop(runs.ofOwner(user), { status: "aborted", ended_by: by, reason });
  });
}

/** @throws GatewayError INVALID_REQUEST */
function inheritanceOf({ user, sessions, transfer_to }: Static<typeof userDelete.params>): Inheritance {
  const wrong = (message: string): GatewayError =>
    new GatewayError("INVALID_REQUEST", `transfer_to: ${message}`, {
      details: { kind: "schema", path: "transfer_to" },
      http: 422,
    });
  if (sessions === "delete") {
    if (transfer_to !== undefined) throw wrong('only with sessions: "transfer"');
    return { sessions };
  }
  if (transfer_to === undefined) throw wrong("say who gets the sessions");
  if (transfer_to === user) throw wrong("not the user who is deleted");
  return { sessions, transfer_to };
}

function heirOf(inheritance: Inheritance): string | null {
  return inheritance.sessions === "transfer" ? inheritance.transfer_to : null;
}

/** @throws GatewayError NOT_FOUND, CONFLICT */
async function checkHeir(deps: UserDeps, user: string, heir: string): Promise<void> {
  const all = await everybody(deps);
  const found = all.get(heir);
  if (found === undefined) throw noUser(heir);
  if (found.disabled) throw conflict(`${heir} is disabled: give the sessions to somebody else`);
  const { sessions_per_user: limit } = deps.limits;
  if (found.sessions + (all.get(user)?.sessions ?? 0) <= limit) return;
  throw new GatewayError(
    "CONFLICT",
    `full: ${heir} would have more than ${limit} sessions; delete some, or raise limits.sessions_per_user`,
    { details: { kind: "full" }, limit: { what: "sessions_per_user", limit } },
  );
}

function noUser(user: string): GatewayError {
  return new GatewayError("NOT_FOUND", `no user "${user}": user.list names them`, {
    details: { kind: "user" },
  });
}

function conflict(message: string): GatewayError {
  return new GatewayError("CONFLICT", message, { details: { kind: "state" } });
}
