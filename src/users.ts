import { expandScopes, listScopes, roleWith } from "./auth/scopes.ts";
import type { Config } from "./config.ts";
import { acceptsTailscale } from "./config/tailscale.ts";
import type { Limits } from "./core/limits.ts";
import type { Live } from "./core/live.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { UserBook } from "./core/users.ts";
import type { Engine } from "./engine.ts";
import { userMethods } from "./method/user.ts";
import { Removals } from "./method/user-removal.ts";
import { GatewayError } from "./protocol/errors.ts";
import type { Scope } from "./protocol/schema.ts";

/** Adds the methods that look after users; what still has to go of those who are deleted. */
export function createRemovals(
  engine: Engine,
  users: UserBook,
  live: Live<Config>,
  limits: Limits,
  clock: Clock,
  log: Logger,
): Removals {
  const deps = { ...engine, users, limits, clock, log };
  const removals = new Removals(deps);
  const onShutOut = (user: string): void => {
    for (const connection of engine.connections.all()) {
      if (connection.principal?.user === user) connection.close(disabled());
    }
  };
  const named = live.derive(namedUsers);
  const methods = userMethods({ ...deps, removals, named: () => named.now, roleOf: roleWith, onShutOut });
  for (const method of methods) {
    engine.registry.add(method);
  }
  return removals;
}

/** Who the configuration itself lets in. */
function namedUsers({ auth }: Config): ReadonlyMap<string, readonly Scope[]> {
  const named = new Map<string, readonly Scope[]>();
  for (const { user, role } of acceptsTailscale(auth) ? Object.values(auth.tailscale.users) : []) {
    named.set(user, listScopes(new Set([...(named.get(user) ?? []), ...expandScopes(role)])));
  }
  return named;
}

function disabled(): GatewayError {
  return new GatewayError("UNAUTHORIZED", "this user was disabled: ask an administrator", {
    details: { kind: "disabled" },
  });
}
