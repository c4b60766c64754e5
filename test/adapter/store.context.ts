import { expect, test } from "bun:test";
import type { Covers } from "../../src/core/operation.ts";
import type { Store } from "../../src/core/store.ts";
import type { MakeStore } from "./store.builders.ts";
import { append, commitAll, copyOf, create, event, put, say } from "./store.builders.ts";

const ALL = [1_000, 1_000_000] as const;

/** A message that is written and then becomes a summary. */
async function summarise(store: Store, message_id: string, covers: Covers): Promise<void> {
  const data = JSON.stringify({ message_id, run_id: "run_s", content: "all" });
  const done = { kind: "message.done", message_id, status: "complete", data, covers } as const;
  await commitAll(
    store,
    append("ses_a", [event("message.started")], [put(message_id, { role: "system", status: "streaming" })]),
    append("ses_a", [event("message.completed")], [done]),
  );
}

async function ids(store: Store, limit: number, bytes: number, session = "ses_a") {
  const rows = await store.context(session, limit, bytes);
  return [rows?.summary?.message_id ?? null, ...(rows?.messages ?? []).map((row) => row.message_id)];
}

export function contextConformance(make: MakeStore): void {
  test("without a summary: the newest messages that fit, but for those being written", async () => {
    await using fixture = await make();
    const { store } = fixture;
    expect(await store.context("ses_a", ...ALL)).toBeNull();
    await commitAll(store, create("ses_a"));
    expect(await store.context("ses_a", ...ALL)).toMatchObject({ summary: null, messages: [] });
    await commitAll(store, say("ses_a", "msg_1"), say("ses_a", "msg_2"), say("ses_a", "msg_3"));
    await commitAll(store, append("ses_a", [event("x")], [put("msg_open", { status: "streaming" })]));
    expect(await ids(store, ...ALL)).toEqual([null, "msg_1", "msg_2", "msg_3"]);
    expect(await ids(store, 2, 1_000_000)).toEqual([null, "msg_2", "msg_3"]);
    expect(await ids(store, 9, 1)).toEqual([null, "msg_3"]);
  });

  test("begins where the newest summary leaves off, however long ago that is", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), ...[1, 2, 3, 4].map((n) => say("ses_a", `msg_${n}`)));
    await summarise(store, "msg_s1", { through: "msg_4", except: ["msg_3", "msg_2"] });
    expect(await ids(store, ...ALL)).toEqual(["msg_s1", "msg_2", "msg_3", "msg_4", "msg_s1"]);
    await commitAll(store, say("ses_a", "msg_5"), say("ses_a", "msg_6"));
    expect(await ids(store, 2, 1_000_000)).toEqual(["msg_s1", "msg_5", "msg_6"]);
    await summarise(store, "msg_s2", { through: "msg_5", except: [] });
    expect(await ids(store, ...ALL)).toEqual(["msg_s2", "msg_5", "msg_6", "msg_s2"]);
    expect((await store.context("ses_a", ...ALL))?.summary).toEqual({
      message_id: "msg_s2",
      seq: 10,
      role: "system",
      status: "complete",
      data: '{"message_id":"msg_s2","run_id":"run_s","content":"all"}',
      covers: { through: "msg_5", except: [] },
    });
    // Everything is still there to be read.
    expect((await store.history("ses_a", { limit: 99, max_bytes: 1_000_000 }))?.messages).toHaveLength(8);
  });

  test("a copy keeps the summaries it has, and no other session has them", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), create("ses_b"), say("ses_a", "msg_1"), say("ses_b", "msg_1"));
    await summarise(store, "msg_s1", { through: "msg_1", except: [] });
    await commitAll(store, say("ses_a", "msg_2"));
    await summarise(store, "msg_s2", { through: "msg_2", except: [] });
    await commitAll(
      store,
      copyOf("ses_a", "ses_c"),
      copyOf("ses_a", "ses_d", { message_id: "msg_2" }),
      copyOf("ses_a", "ses_e", { message_id: "msg_1" }),
    );
    expect(await ids(store, ...ALL, "ses_c")).toEqual(["msg_s2", "msg_2", "msg_s2"]);
    expect(await ids(store, ...ALL, "ses_d")).toEqual(["msg_s1", "msg_1", "msg_s1", "msg_2"]);
    expect(await ids(store, ...ALL, "ses_e")).toEqual([null, "msg_1"]);
    expect(await ids(store, ...ALL, "ses_b")).toEqual([null, "msg_1"]);
  });
}
