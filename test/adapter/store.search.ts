import { expect, test } from "bun:test";
import { termsOf } from "../../src/core/search.ts";
import type { SearchQuery, Store } from "../../src/core/store.ts";
import type { MakeStore } from "./store.builders.ts";
import { append, close, commit, commitAll, create, event, put, say } from "./store.builders.ts";

async function indexed(store: Store): Promise<void> {
  while ((await store.index(2)) > 0);
}

async function found(store: Store, query: string, more: Partial<SearchQuery> = {}): Promise<string[]> {
  const answer = await store.search({ user: "ada", shared: [], terms: termsOf(query)!, limit: 10, ...more });
  expect(answer.found.map(({ place }) => place)).toEqual(
    answer.found.map(({ place }) => place).toSorted((a, b) => b - a),
  );
  return answer.found.map(({ message }) => message.message_id);
}

export function searchConformance(make: MakeStore): void {
  test("what users and models said is found by those who may read it, newest first", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), create("ses_b", { owner: "bob" }), create("ses_c"));
    await commitAll(store, say("ses_a", "m1", { content: "Blue whale" }));
    expect(await found(store, "whale")).toEqual([]);
    await indexed(store);
    expect(await found(store, "whale")).toEqual(["m1"]);
    const system = { message_id: "s1", role: "system", content: "whale summary" };
    await commitAll(
      store,
      say("ses_b", "m2", { content: "blue WHALES" }),
      say("ses_c", "m3", { content: "A whale, blue" }),
      append(
        "ses_c",
        [event("message.created", { message: system })],
        [put("s1", { role: "system", data: JSON.stringify(system) })],
      ),
    );
    await indexed(store);
    expect(await found(store, "blue whale")).toEqual(["m3", "m1"]);
    expect(await found(store, "blue whale", { shared: ["ses_b", "ses_none"] })).toEqual(["m3", "m2", "m1"]);
    expect(await found(store, '"blue whale"')).toEqual(["m1"]);
    expect(await found(store, "whale", { session: "ses_a" })).toEqual(["m1"]);
    expect(await found(store, "whale", { session: "ses_b" })).toEqual([]);
    expect(await found(store, "whale", { session: "ses_none" })).toEqual([]);
    expect(await found(store, "whal", { user: "bob" })).toEqual(["m2"]);
    expect(await found(store, "shark")).toEqual([]);
    expect(await store.index(10)).toBe(0);
  });

  test("a message that is being written is found once it is complete", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const open = { message_id: "m1", role: "assistant", content: "" };
    const row = { role: "assistant", status: "streaming", data: JSON.stringify(open) } as const;
    await commitAll(store, create("ses_a"));
    await commitAll(store, append("ses_a", [event("message.started", open)], [put("m1", row)]));
    await indexed(store);
    expect(await found(store, "answer")).toEqual([]);
    const data = JSON.stringify({ ...open, content: "An answer" });
    await commitAll(
      store,
      append(
        "ses_a",
        [event("message.completed", {})],
        [{ kind: "message.done", message_id: "m1", status: "complete", data }],
      ),
    );
    await indexed(store);
    expect(await found(store, "answer")).toEqual(["m1"]);
  });

  test("in pages, also through many that only begin alike", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    for (let at = 0; at < 2_300; at += 230) {
      await commitAll(
        store,
        ...Array.from({ length: 230 }, (_, i) =>
          say("ses_a", `m${at + i}`, { content: (at + i) % 1_150 === 0 ? "international" : "interest" }),
        ),
      );
    }
    while ((await store.index(500)) > 0);
    const terms = termsOf("internat")!;
    const ids: string[] = [];
    let pages = 0;
    for (let before: number | null = Number.MAX_SAFE_INTEGER; before !== null; pages++) {
      const page = await store.search({ user: "ada", shared: [], terms, limit: 1, before });
      ids.push(...page.found.map(({ message }) => message.message_id));
      before = page.next;
    }
    expect(ids).toEqual(["m1150", "m0"]);
    expect(pages).toBeLessThan(6);
  });

  test("who looks for what stands in much text keeps others who read waiting for a moment at a time", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), say("ses_a", "m0", { content: "international" }));
    const content = "interest ".repeat(5_000);
    for (let at = 1; at <= 50; at++) await commitAll(store, say("ses_a", `m${at}`, { content }));
    while ((await store.index(50)) > 0);
    const query = { user: "ada", shared: [], terms: termsOf("internat")!, limit: 10 };
    const first = await store.search(query);
    expect(first.found).toEqual([]);
    expect(first.next).toBeGreaterThan(20);
    const ids: string[] = [];
    for (let { next } = first; next !== null;) {
      const page = await store.search({ ...query, before: next });
      ids.push(...page.found.map(({ message }) => message.message_id));
      ({ next } = page);
    }
    expect(ids).toEqual(["m0"]);
  });

  test("who is given a session finds what was said in it before and after, and who had it does not", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), say("ses_a", "m1", { content: "before" }));
    await indexed(store);
    await commitAll(
      store,
      append("ses_a", [event("session.updated")], [{ kind: "session.transfer", owner: "bob" }]),
    );
    await commitAll(store, say("ses_a", "m2", { content: "before too" }));
    await indexed(store);
    expect(await found(store, "before")).toEqual([]);
    expect(await found(store, "before", { user: "bob" })).toEqual(["m2", "m1"]);
  });

  test("a session that is deleted takes its words along", async () => {
    await using fixture = await make();
    const { store, limits } = fixture;
    await commitAll(store, create("ses_a"), create("ses_b"));
    for (const id of ["ses_a", "ses_b"]) {
      for (let i = 0; i < 5; i++)
        await commitAll(store, say(id, `${id}-${i}`, { content: `secret${i} word` }));
    }
    await indexed(store);
    await commitAll(store, say("ses_a", "late", { content: "secret word" }));
    await commitAll(store, close("ses_a"));
    expect(await found(store, "secret0")).toEqual(["ses_b-0"]);
    for (;;) {
      const [result] = await commit(store, {
        kind: "erase",
        session: "ses_a",
        max_rows: limits.maintenance_rows,
      });
      if (result?.ok !== true || ("done" in result && result.done)) break;
    }
    await indexed(store);
    expect(await found(store, "word")).toEqual([4, 3, 2, 1, 0].map((i) => `ses_b-${i}`));
  });
}
