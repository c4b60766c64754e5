import { expect, test } from "bun:test";
import { Book } from "../../src/auth/book.ts";
import { createUsers, ShutUsers } from "../../src/auth/users.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Inheritance } from "../../src/core/users.ts";
import type { RemovalDeps } from "../../src/method/user-removal.ts";
import { Removals } from "../../src/method/user-removal.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { manualClock } from "../support/clock.ts";
import type { Script, TestEngineOptions } from "../support/engine.ts";
import { silentLog, startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

/** An engine in memory with Gus, who has two sessions, a share of Ann's and a key, and what deletes users. */
async function stage(options: TestEngineOptions = {}) {
  const clock = manualClock();
  const { store, faults } = withFaults(createMemoryStore({ clock, limits: DEFAULT_LIMITS }));
  const scene = await startEngine({ ...options, store, clock });
  const { engine, limits } = scene;
  const shut = new ShutUsers();
  const nothing = (): void => undefined;
  const isShutOut = (user: string): boolean => shut.has(user);
  const book = new Book({ clock, isShutOut, onRevoked: nothing, onExpired: nothing });
  const users = createUsers({ book, shut, clock });
  const make = (other: Partial<RemovalDeps> = {}) =>
    new Removals({ ...engine, users, limits, clock, log: silentLog, ...other });
  const gus = scene.connect("gus");
  await gus.request("session.create", { session_id: "a", idempotency_key: "k" });
  await gus.request("session.create", { session_id: "b" });
  const ann = scene.connect("ann");
  await ann.request("session.create", { session_id: "hers" });
  await ann.request("session.share", { session_id: "hers", user: "gus", role: "editor" });
  const decide = (inheritance: Inheritance) => {
    const removal = { user: "gus", by: "ann", inheritance };
    users.remove(removal).commit();
    return removal;
  };
  /** Lets time pass until it holds. */
  const wait = async (condition: () => boolean | Promise<boolean>, what: string): Promise<void> => {
    for (let turn = 0; turn < 2_000; turn++) {
      if (await condition()) return;
      clock.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(`not within 200 s: ${what}`);
  };
  const left = async () => ({
    owners: (await store.owners()).map(({ user, sessions }) => `${user} ${sessions}`),
    shares: engine.directory.sharedWith("gus").length,
    key: (await store.idempotency("gus", "k")) !== null,
    shutOut: users.isShutOut("gus"),
  });
  return { ...scene, clock, faults, users, make, decide, wait, left, ann };
}

const ALL = { owners: ["ann 1", "gus 2"], shares: 1, key: true, shutOut: true };
const NOTHING = { owners: ["ann 1"], shares: 0, key: false, shutOut: false };

test("storage that refuses puts it off, and it goes on by itself", async () => {
  for (const refused of [0, 1, 2, 3, 4]) {
    const { engine, faults, make, decide, wait, left, close } = await stage();
    const removals = make();
    // Whatever step it meets.
    faults.refuse("full", refused + 1);
    const outcome = removals.finish(decide({ sessions: "delete" })).then(
      (count) => count,
      (error: { reason: string }) => error.reason,
    );
    let known: unknown = null;
    void outcome.then((value) => (known = value));
    await wait(() => known !== null, "an answer");
    expect([2, "UNAVAILABLE"]).toContain(known as string);
    await wait(async () => (await left()).owners.length === 1 && !(await left()).shutOut, "the end");
    expect(await left()).toEqual(NOTHING);
    expect(engine.journal.refused).toBeNull();
    await close();
  }
});

test("two who ask for it wait for the same end", async () => {
  const { make, decide, wait, left, close } = await stage();
  const removals = make();
  const removal = decide({ sessions: "delete" });
  const both = Promise.all([removals.finish(removal), removals.finish(removal)]);
  let counts: readonly number[] = [];
  void both.then((value) => (counts = value));
  await wait(() => counts.length === 2, "both answers");
  expect(counts).toEqual([2, 2]);
  expect(await left()).toEqual(NOTHING);
  await close();
});

test("what a stop cut short is there as it was, shut out, and the next start finishes it", async () => {
  const { make, decide, wait, left, close, faults } = await stage();
  const removals = make();
  const release = faults.hold();
  const removal = decide({ sessions: "transfer", transfer_to: "ann" });
  const cut = removals.finish(removal).then(
    () => "done",
    (error: { details: unknown }) => error.details,
  );
  await until(() => faults.groups.at(-1)?.some(({ kind }) => kind === "append") === true, "the first step");
  const closed = removals.close();
  release();
  await closed;
  expect(await cut).toEqual({ kind: "draining" });
  expect(await left()).toEqual({ ...ALL, owners: ["ann 2", "gus 1"] });
  const next = make();
  next.resume();
  await wait(async () => !(await left()).shutOut, "the end");
  expect(await left()).toEqual({ ...NOTHING, owners: ["ann 3"] });
  await next.close();
  await close();
});

test("what another node is at, or may be, is left to it until it is not, and nobody's is taken up", async () => {
  const { make, decide, wait, left, clock, close } = await stage();
  decide({ sessions: "delete" });
  const said = { isWhole: true, body: ["gus"] };
  let asked = 0;
  const ask = async () => {
    asked++;
    return { isWhole: said.isWhole, answers: [{ node: "b", body: said.body }] };
  };
  const removals = make({ nodes: { ask } as unknown as RemovalDeps["nodes"] });
  removals.resume();
  const looked = async (): Promise<void> => {
    const before = asked;
    await wait(() => asked >= before + 2, "two looks");
  };
  await looked();
  expect(await left()).toEqual(ALL);
  Object.assign(said, { isWhole: false, body: [] });
  await looked();
  expect(await left()).toEqual(ALL);
  said.isWhole = true;
  await wait(async () => !(await left()).shutOut, "the end");
  expect(await left()).toEqual(NOTHING);
  // There is nothing left to ask about.
  const before = asked;
  clock.advance(60_000);
  expect(asked).toBe(before);
  await removals.close();
  await close();
});

test("a name that is somebody else's by now is left alone", async () => {
  const { make, users, left, close } = await stage();
  const removals = make();
  const stale = { user: "gus", by: "ann", inheritance: { sessions: "delete" } } as const;
  expect(users.removals()).toEqual([]);
  expect(await removals.finish(stale)).toBe(0);
  expect(await left()).toEqual({ ...ALL, shutOut: false });
  await removals.close();
  await close();
});

test("the runs in a session that is transferred end before it is another's, and new ones are the new owner's", async () => {
  const { engine, ann, connect, make, decide, wait, left, close } = await stage();
  const gus = connect("gus");
  const { run_id } = await gus.request<{ run_id: string }>("chat.send", { session_id: "a", message: "go" });
  const removals = make();
  let done = false;
  void removals.finish(decide({ sessions: "transfer", transfer_to: "ann" })).then(() => (done = true));
  await wait(() => done, "the end");
  expect(engine.runs.ofOwner("gus")).toEqual([]);
  const run = await ann.request<{ session_id: string; status: string }>("run.get", { run_id });
  expect(run.session_id).toStartWith("ses_");
  expect(["aborted", "completed"]).toContain(run.status);
  await ann.request("chat.send", { session_id: run.session_id, message: "more" });
  expect(engine.runs.ofOwner("ann")).toHaveLength(1);
  await wait(() => engine.runs.ofOwner("ann").length === 0, "her run's end");
  expect(await left()).toEqual({ ...NOTHING, owners: ["ann 3"] });
  await close();
});

test("who is deleted uses nothing any more in sessions of others, and nothing is left of what was used", async () => {
  const script: Script = async function* (_request, signal) {
    yield { type: "text", text: "hello" };
    yield { type: "usage", usage: { input_tokens: 5, output_tokens: 5 } };
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    yield { type: "aborted" };
  };
  const bounds = (): { day_tokens: number } => ({ day_tokens: 10 });
  const { store, ann, connect, make, decide, wait, close } = await stage({ script, bounds });
  const gus = connect("gus");
  const { sessions } = await ann.request<{ sessions: { session_id: string }[] }>("session.list", {});
  const hers = sessions[0]?.session_id ?? "";
  const theirs = await store.sessions({ user: "ann", shared: [], limit: 1 });
  await ann.request("session.subscribe", { session_id: hers, after: 0 });
  await gus.request("chat.send", { session_id: theirs[0]?.id, message: "go" });
  await wait(() => ann.events().some(({ event }) => event === "message.delta"), "his answer");
  let done = false;
  void make()
    .finish(decide({ sessions: "delete" }))
    .then(() => (done = true));
  await wait(() => done, "the end");
  expect(ann.events().at(-1)).toMatchObject({
    event: "run.aborted",
    payload: { run: { ended_by: "ann", reason: "user deleted" } },
  });
  expect(await store.usage({ by: "user", currency: "EUR", limit: 9 })).toEqual([]);
  // Somebody else, who is called the same.
  const next = connect("gus");
  await next.request("chat.send", { session_id: "new", message: "hello" });
  await next.request("chat.abort", { session_id: "new" });
  await close();
});
