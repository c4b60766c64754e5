import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { Cluster } from "../../src/core/cluster.ts";
import type { SessionRow } from "../../src/core/operation.ts";
import type { SessionRef } from "../../src/core/session.ts";
import { Directory } from "../../src/core/session.ts";
import type { SessionMirrorsOptions } from "../../src/core/session-mirrors.ts";
import { sessionMirrors } from "../../src/core/session-mirrors.ts";
import type { Store } from "../../src/core/store.ts";
import { eventually } from "../gateway/stack.ts";

test("thousands of sessions that may have changed at other nodes are looked at with a few questions", async () => {
  const there = new Map<string, SessionRef>();
  for (let n = 0; n < 2_500; n++) there.set(`ses_${n}`, { id: `ses_${n}`, owner: "ann", name: `talk ${n}` });
  let questions = 0;
  const refs: Cluster["refs"] = async (ids) => {
    questions++;
    return ids.flatMap((id) => there.get(id) ?? []);
  };
  const session = async (id: string): Promise<SessionRow | null> => {
    questions++;
    return (there.get(id) as SessionRow | undefined) ?? null;
  };
  const store = { cluster: { refs }, session } as unknown as Store;
  const directory = new Directory(store, systemClock);
  for (const { id } of there.values()) expect(await directory.lookup("ann", id)).toMatchObject({ id });
  const tails = { isBusy: () => false, peek: () => undefined, readOn: async () => undefined };
  const options = {
    store,
    directory,
    connections: { all: () => [] },
    changes: { deleted: () => undefined },
    journal: { tails },
  } as unknown as SessionMirrorsOptions;
  const [mirror] = sessionMirrors(options);

  there.delete("ses_1");
  there.set("ses_2", { id: "ses_2", owner: "bob", name: null });
  questions = 0;
  await mirror?.all();
  expect(questions).toBe(3);
  expect(directory.cached("ses_1")).toBeNull();
  expect(directory.cached("ses_2")).toMatchObject({ owner: "bob", name: null });
  expect(directory.cached("ses_3")).toMatchObject({ owner: "ann" });
  there.delete("ses_3");
  await mirror?.changed(["ses_3", "ses_4"]);
  await eventually(
    () => directory.cached("ses_3"),
    (found) => found === null,
  );
});
