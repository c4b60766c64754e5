import { expect, test } from "bun:test";
import type { CallAnswer, NodeCall } from "../../src/core/cluster.ts";
import type { Dispatch } from "../../src/core/call.ts";
import { servedElsewhere, storageRefuses } from "../../src/core/outage.ts";
import type { InboxOptions } from "../../src/method/inbox.ts";
import { Inbox } from "../../src/method/inbox.ts";
import { silentLog, until } from "../support/engine.ts";

const principal = { user: "ann", method: "token", credential: null, expires_at: null, scopes: [] };

function call(id: string, session: string, body?: string): NodeCall {
  const caller = { transport: "ws", client_id: "c", remote: "" };
  const ids = {
    message_id: `msg_${id}`,
    run_id: `run_${id}`,
    bond: "",
    mark: { request_id: id, trace: null },
  };
  const asked = { ...ids, method: "chat.inject", params: { id }, caller, principal };
  return { id, session, body: body ?? JSON.stringify(asked) };
}

/** What other nodes ask, and how it is carried out: `fails` says what goes wrong with the next look at a session. */
function stage(calls: readonly NodeCall[]) {
  const open = [...calls];
  const done: string[] = [];
  const answers: CallAnswer[] = [];
  const fails = new Map<string, (Error | Promise<Error>)[]>();
  const refused = new Set<string>();
  let held: Promise<void> | null = null;
  let reads = 0;
  const session = async (id: string) => {
    const error = await fails.get(id)?.shift();
    if (error !== undefined) throw error;
    return { id, owner: "ann", name: null };
  };
  const dispatch: Dispatch = (_caller, { params }, answer) => {
    const { id } = params as { id: string };
    if (refused.delete(id)) return answer({ ok: false, error: servedElsewhere() });
    done.push(id);
    return answer({ ok: true, payload: { id } });
  };
  const cluster = {
    calls: {
      async waiting(except: readonly string[]) {
        reads++;
        const found = open.filter(({ id }) => !except.includes(id));
        await held;
        return found;
      },
      async answer(some: readonly CallAnswer[]) {
        answers.push(...some);
        for (const { id } of some)
          open.splice(
            open.findIndex((each) => each.id === id),
            1,
          );
      },
    },
  };
  const inbox = new Inbox({
    cluster,
    dispatch,
    log: silentLog,
    store: { session },
    journal: { tails: { own: async () => undefined, release: () => undefined } },
    vouching: () => ({ admit: (shown: unknown) => shown }),
    mirrors: { caughtUp: async () => undefined },
    draining: () => false,
    known: () => undefined,
  } as unknown as InboxOptions);
  return {
    inbox,
    open,
    done,
    answers,
    fails,
    refused,
    reads: () => reads,
    /** What is read is there, and its answer on its way, until that is called. */
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      held = promise;
      return () => {
        held = null;
        resolve();
      };
    },
  };
}

const errorIn = ({ answer }: CallAnswer): string => JSON.parse(answer).error.code;
/** As long as something may still come of what was begun. */
const settle = (): Promise<void> => Bun.sleep(20);

test("what comes after a call that cannot be carried out yet waits with it, and other sessions do not", async () => {
  const scene = stage([call("1", "a"), call("2", "a"), call("3", "b"), call("4", "a")]);
  scene.fails.set("a", [storageRefuses()]);
  scene.inbox.wake();
  await until(() => scene.done.length > 0);
  await settle();
  expect(scene.done).toEqual(["3"]);
  scene.inbox.wake();
  await until(() => scene.answers.length === 4);
  expect(scene.done).toEqual(["3", "1", "2", "4"]);
});

test("what was read before the one that it follows was left is read again", async () => {
  const scene = stage([call("1", "a")]);
  const failed = Promise.withResolvers<Error>();
  scene.fails.set("a", [failed.promise]);
  scene.inbox.wake();
  await until(() => scene.fails.get("a")?.length === 0);
  scene.open.push(call("2", "a"));
  const go = scene.hold();
  scene.inbox.wake();
  await until(() => scene.reads() === 2);
  failed.resolve(storageRefuses());
  await settle();
  go();
  await until(() => scene.answers.length === 2);
  expect(scene.done).toEqual(["1", "2"]);
});

test("where another node has the session by then, what comes after waits, too", async () => {
  const scene = stage([call("1", "a"), call("2", "a")]);
  scene.refused.add("1");
  scene.inbox.wake();
  await until(() => scene.reads() > 0);
  await settle();
  expect(scene.done).toEqual([]);
  scene.inbox.wake();
  await until(() => scene.answers.length === 2);
  expect(scene.done).toEqual(["1", "2"]);
});

test("what cannot be read is answered, and stops nothing", async () => {
  const strange = ["{", "null", "7", "[]", "{}"].map((body, at) => call(`bad-${at}`, "a", body));
  const scene = stage([...strange, call("1", "a"), call("2", "b")]);
  scene.fails.set("b", [new TypeError("a bug")]);
  scene.inbox.wake();
  await until(() => scene.open.length === 0);
  expect(scene.done).toEqual(["1"]);
  const failed = scene.answers.filter(({ id }) => id !== "1");
  expect(failed.map(({ id }) => id).toSorted()).toEqual(["2", ...strange.map(({ id }) => id)]);
  expect(new Set(failed.map(errorIn))).toEqual(new Set(["INTERNAL_ERROR"]));
});
