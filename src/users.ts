import { roleWith } from "./auth/scopes.ts";
import { USERS } from "./auth/users.ts";
import { mirrorOf } from "./core/mirrors.ts";
import type { Logger } from "./core/ports.ts";
import type { UserBook } from "./core/users.ts";
import type { Engine } from "./engine.ts";
import { shutOut, userMethods } from "./method/user.ts";
import { Removals, UNDER_WAY } from "./method/user-removal.ts";
import { GatewayError } from "./protocol/errors.ts";
import type { Scope } from "./protocol/schema.ts";

/** Adds the methods that look after users; what still has to go of those who are deleted. */
export function createRemovals(
  engine: Engine,
  users: UserBook,
  named: () => ReadonlyMap<string, readonly Scope[]>,
  log: Logger,
): Removals {
  const deps = { ...engine, users, log };
  const removals = new Removals(deps);
  engine.nodes.on(UNDER_WAY, () => removals.underWay());
  const onShutOut = (user: string): void => {
    for (const connection of engine.connections.all()) {
      if (connection.principal?.user === user) connection.close(disabled());
    }
  };
  const methods = userMethods({ ...deps, removals, named, roleOf: roleWith, onShutOut });
  for (const method of methods) {
    engine.registry.add(method);
  }
  const shut = { ...engine, onShutOut };
  engine.mirrors.add(
    mirrorOf(engine.store, USERS, {
      apply(user, row) {
        const decided = users.told(user, row);
        if (decided !== null)
          shutOut(shut, user, decided.by, decided.isRemoved ? "user deleted" : "user disabled");
      },
      ids: () => users.shutOut(),
    }),
  );
  return removals;
}

function disabled(): GatewayError {
  return new GatewayError("UNAUTHORIZED", "this user was disabled: ask an administrator", {
    details: { kind: "disabled" },
  });
}
