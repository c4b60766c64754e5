import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Connection } from "../../src/core/connections.ts";
import { Connections } from "../../src/core/connections.ts";
import type { Principal } from "../../src/core/principal.ts";
import { OWNER } from "../support/transport-stub.ts";

const LIMITS = {
  max_connections: 6,
  max_connections_per_user: 3,
  max_connections_per_device: 2,
  max_unauthenticated: 4,
  max_unauthenticated_per_address: 2,
};

function setUp() {
  return new Connections({ limits: LIMITS, networkOf: (address) => address.split(":")[0] ?? "" });
}

let made = 0;
function connection(
  remote = "a",
  principal: Principal | null = null,
): Connection & { principal: Principal | null } {
  return { id: `con_${++made}`, remote, principal } as Connection & { principal: Principal | null };
}

const bea: Principal = { ...OWNER, user: "bea", scopes: new Set(["chat.read"]), credential: "tok_2" };
const device = (id: string): Principal => ({ ...bea, method: "device", credential: id });

test("strangers are counted in all and by network", () => {
  const connections = setUp();
  expect(connections.fullForStranger("a:1")).toBeNull();
  for (const remote of ["a:1", "a:2"]) connections.add(connection(remote));
  expect(connections.fullForStranger("a:3")).toMatchObject({
    reason: "UNAVAILABLE",
    limit: "max_unauthenticated_per_address",
    retry_after_ms: 2_000,
  });
  for (const remote of ["b", "c"]) connections.add(connection(remote));
  expect(connections.fullForStranger("d")).toMatchObject({ limit: "max_unauthenticated" });
  expect(connections.full()).toBeNull();
});

test("a user's are bounded, a device's more tightly, an administrator's in all only", () => {
  const connections = setUp();
  for (const id of ["d1", "d1", "d2"]) connections.add(connection("a", device(id)));
  expect(connections.fullFor(device("d1"))).toMatchObject({ limit: "max_connections_per_device" });
  expect(connections.fullFor(device("d2"))).toMatchObject({ limit: "max_connections_per_user" });
  expect(connections.fullFor(bea)).toMatchObject({ limit: "max_connections_per_user" });
  expect(connections.fullFor({ ...bea, user: "cem" })).toBeNull();
  for (let i = 0; i < 3; i++) connections.add(connection("a", { ...OWNER, user: "bea" }));
  expect(connections.fullFor({ ...OWNER, user: "bea" })).toBeNull();
  expect(connections.full()).toMatchObject({ limit: "max_connections" });
});

test("who turns out to be one too many stays what it was", () => {
  const connections = setUp();
  for (let i = 0; i < 3; i++) connections.add(connection("a", bea));
  const late = connection("z");
  connections.add(late);
  expect(connections.become(late, bea)).toMatchObject({ limit: "max_connections_per_user" });
  expect([...connections.ofUser("bea")]).toHaveLength(3);
  connections.add(connection("z"));
  expect(connections.fullForStranger("z")).not.toBeNull();
  connections.remove(late);
  expect(connections.fullForStranger("z")).toBeNull();
  // One that is counted already is not counted against itself.
  const [first] = connections.ofUser("bea");
  if (first === undefined) throw new Error("there are three");
  expect(connections.become(first, bea)).toBeNull();
});

test("whatever happens, a place is given back once", () => {
  const principals = [null, bea, device("d1"), OWNER];
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom("add", "become", "remove"), fc.nat(5), fc.nat(3)), { maxLength: 60 }),
      (steps) => {
        const connections = setUp();
        const pool = Array.from({ length: 6 }, (_, i) => connection(`net${i % 2}`));
        const open = new Set<Connection>();
        for (const [what, i, who] of steps) {
          const each = pool[i] ?? connection();
          const principal = principals[who] ?? null;
          if (what === "add" && !open.has(each)) {
            each.principal = null;
            connections.add(each);
            open.add(each);
          } else if (what === "become" && open.has(each) && principal !== null) {
            if (connections.become(each, principal) === null) each.principal = principal;
          } else if (what === "remove") {
            connections.remove(each);
            open.delete(each);
          }
        }
        for (const each of pool) connections.remove(each);
        expect(connections.size).toBe(0);
        expect([...connections.ofUser("bea"), ...connections.ofUser("owner")]).toEqual([]);
        // Everything is free again, to the last place.
        for (let n = 0; n < 2; n++) {
          expect(connections.fullFor(device("d1"))).toBeNull();
          connections.add(connection("net0", device("d1")));
        }
        expect(connections.fullFor(device("d1"))).not.toBeNull();
        expect(connections.fullForStranger("net0")).toBeNull();
      },
    ),
  );
});

test("a request that waits takes a place of its user's, and gives it back once", () => {
  const connections = setUp();
  const leave = [1, 2].map(() => connections.takeForRequest(bea));
  connections.add(connection("a", bea));
  expect(() => connections.takeForRequest(bea)).toThrow("max_connections_per_user");
  expect(connections.fullFor(bea)).toMatchObject({ limit: "max_connections_per_user" });
  leave[0]?.();
  leave[0]?.();
  connections.takeForRequest(bea)();
  for (let i = 0; i < 4; i++) connections.takeForRequest(OWNER);
  expect(() => connections.takeForRequest(OWNER)).toThrow("max_connections");
  expect(connections.full()).toMatchObject({ limit: "max_connections" });
  expect(connections.size).toBe(1);
});
