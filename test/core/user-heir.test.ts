import { expect, test } from "bun:test";
import { Book } from "../../src/auth/book.ts";
import { roleWith } from "../../src/auth/scopes.ts";
import { createUsers, ShutUsers } from "../../src/auth/users.ts";
import { systemClock } from "../../src/clock.ts";
import { userMethods } from "../../src/method/user.ts";
import { Removals } from "../../src/method/user-removal.ts";
import { silentLog, startEngine, until } from "../support/engine.ts";

/** An engine in memory with Gus and Eve, who have a session each, and an administrator. */
async function stage() {
  const scene = await startEngine();
  const { engine, limits } = scene;
  const clock = systemClock;
  const shut = new ShutUsers();
  const nothing = (): void => undefined;
  const isShutOut = (user: string): boolean => shut.has(user);
  const book = new Book({ clock, isShutOut, onRevoked: nothing, onExpired: nothing });
  const users = createUsers({ book, shut, clock });
  const deps = { ...engine, users, limits, clock, log: silentLog };
  const removals = new Removals(deps);
  const more = { removals, named: () => new Map(), roleOf: roleWith, onShutOut: nothing };
  for (const method of userMethods({ ...deps, ...more })) engine.registry.add(method);
  await scene.connect("gus").request("session.create", { session_id: "his" });
  await scene.connect("eve").request("session.create", { session_id: "hers" });
  return { ...scene, users, removals, admin: scene.connect("admin") };
}

test("who is given sessions is not deleted until they have them, and then the sessions go with them", async () => {
  const { users, removals, admin, store, close } = await stage();
  const removal = {
    user: "gus",
    by: "admin",
    inheritance: { sessions: "transfer", transfer_to: "eve" },
  } as const;
  // Decided, and then the gateway was killed, say: nothing of it is done yet.
  users.remove(removal).commit();
  const remove = (): Promise<unknown> => admin.request("user.delete", { user: "eve", sessions: "delete" });
  await expect(remove()).rejects.toMatchObject({ reason: "CONFLICT", details: { kind: "state" } });
  expect(users.isShutOut("eve")).toBe(false);
  removals.resume();
  await until(() => !users.isShutOut("gus"), "the end of Gus");
  expect(await remove()).toEqual({ deleted: true, sessions: 2 });
  expect(await store.owners()).toEqual([]);
  await removals.close();
  await close();
});
