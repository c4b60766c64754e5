import { expect, test } from "bun:test";
import type { AttachmentRow } from "../../src/core/attachment.ts";
import type { AppendItem, Quota, RowChange } from "../../src/core/operation.ts";
import type { Store } from "../../src/core/store.ts";
import type { MakeStore } from "./store.builders.ts";
import { append, close, commit, commitAll, copyOf, create, event, put, START } from "./store.builders.ts";

const HOUR = 3_600_000;
const lost = { ok: false, reason: "attachment" } as const;
const unknown = { ok: false, reason: "unknown" } as const;
const full = (what: Quota) => ({ ok: false, reason: "full", what }) as const;

export function file(attachment_id: string, text: string, more: Partial<AttachmentRow> = {}): AttachmentRow {
  return {
    attachment_id,
    name: `${attachment_id}.txt`,
    media_type: "text/plain",
    width: null,
    height: null,
    bytes: Buffer.byteLength(text),
    sha256: new Bun.CryptoHasher("sha256").update(text).digest("hex"),
    ...more,
  };
}

export function piece(upload_id: string, n: number, text: string, user = "ada"): AppendItem {
  const data = Buffer.from(text).toString("base64");
  return append(null, [], [{ kind: "upload.piece", upload_id, user, n, data, expires_at: START + HOUR }]);
}

export function done(upload_id: string, attachment: AttachmentRow): AppendItem {
  return append(null, [], [{ kind: "upload.done", upload_id, attachment, expires_at: START + HOUR }]);
}

/** An upload in one piece: `att_x` has the id `upl_x` while it is received. */
export function upload(attachment_id: string, text: string, user = "ada"): AppendItem[] {
  const upload_id = `upl_${attachment_id}`;
  return [piece(upload_id, 0, text, user), done(upload_id, file(attachment_id, text))];
}

export function uses(attachment_ids: readonly string[], user = "ada", at = START): RowChange {
  return { kind: "attachment.use", user, attachment_ids, at };
}

/** A message that names files. */
export function tell(session: string, message_id: string, ids: readonly string[], user = "ada"): AppendItem {
  const parts = ids.map((attachment_id) => ({ type: "file", attachment_id }));
  const data = JSON.stringify({ message_id, role: "user", content: "", parts });
  return append(session, [event("message.created")], [put(message_id, { data }), uses(ids, user)]);
}

async function contentOf(store: Store, session: string, attachment_id: string): Promise<string | null> {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const next = await store.piece(session, attachment_id, pieces.length);
    if (next === null) return pieces.length === 0 ? null : Buffer.concat(pieces).toString();
    pieces.push(next);
  }
}

async function erased(store: Store, session: string, max_rows = 1_000): Promise<void> {
  for (;;) {
    const [result] = await commitAll(store, { kind: "erase", session, max_rows });
    if (result?.ok === true && "done" in result && result.done) return;
  }
}

export function attachmentsConformance(make: MakeStore): void {
  test("an upload is whole or not there, and its user's alone until a message names it", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), create("ses_b", { owner: "bob" }));
    const row = file("att_1", "onetwo", { width: 3, height: 4, media_type: "image/png" });
    await commitAll(store, piece("upl_1", 0, "one"));
    expect(await commit(store, tell("ses_a", "msg_0", ["att_1"]))).toEqual([lost]);
    await commitAll(store, piece("upl_1", 1, "two"), done("upl_1", row));
    expect(await store.uploads("ada", ["att_1", "att_2"])).toEqual([row]);
    expect(await store.uploads("bob", ["att_1"])).toEqual([]);
    expect(await commit(store, tell("ses_b", "msg_1", ["att_1"], "bob"))).toEqual([lost]);
    expect(await store.attachment("ses_a", "att_1")).toBeNull();
    await commitAll(store, tell("ses_a", "msg_1", ["att_1"]));
    expect(await store.attachment("ses_a", "att_1")).toEqual(row);
    expect(await store.attachment("ses_b", "att_1")).toBeNull();
    expect(await contentOf(store, "ses_a", "att_1")).toBe("onetwo");
    expect(await contentOf(store, "ses_b", "att_1")).toBeNull();
    expect(new Uint8Array((await store.piece("ses_a", "att_1", 1)) ?? [])).toEqual(
      new Uint8Array(Buffer.from("two")),
    );
  });

  test("a message whose file is not there is not there either", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), ...upload("att_1", "x"));
    expect(await commit(store, tell("ses_a", "msg_1", ["att_1", "att_2"]))).toEqual([lost]);
    expect(await store.totals()).toEqual({ sessions: 1, messages: 0, events: 1 });
    expect(await store.attachment("ses_a", "att_1")).toBeNull();
  });

  test("pieces out of order, of nothing, or that do not add up are refused", async () => {
    await using fixture = await make();
    const { store } = fixture;
    expect(await commit(store, piece("upl_1", 1, "x"), done("upl_2", file("att_2", "x")))).toEqual([
      unknown,
      unknown,
    ]);
    await commitAll(store, piece("upl_1", 0, "abc"));
    expect(
      await commit(
        store,
        piece("upl_1", 0, "abc"),
        piece("upl_1", 2, "x"),
        done("upl_1", file("att_1", "ab")),
      ),
    ).toEqual([unknown, unknown, unknown]);
    await commitAll(store, append(null, [], [{ kind: "upload.drop", upload_id: "upl_1" }]));
    expect(await commit(store, done("upl_1", file("att_1", "abc")))).toEqual([unknown]);
  });

  test("an upload can be named by several messages until it expires, and what was named stays", async () => {
    await using fixture = await make();
    const { store, clock } = fixture;
    await commitAll(store, create("ses_a"), create("ses_b"), ...upload("att_1", "x"));
    await commitAll(store, tell("ses_a", "msg_1", ["att_1"]), tell("ses_a", "msg_2", ["att_1"]));
    clock.set(START + HOUR);
    expect(await store.uploads("ada", ["att_1"])).toEqual([]);
    const late = append("ses_b", [event("x")], [uses(["att_1"], "ada", START + HOUR)]);
    expect(await commit(store, late)).toEqual([lost]);
    await commitAll(store, piece("upl_2", 0, "half of it"));
    expect(await store.expire(START + HOUR, 1_000)).toBeGreaterThan(0);
    expect(await store.expire(START + HOUR, 1_000)).toBe(0);
    expect(await contentOf(store, "ses_a", "att_1")).toBe("x");
    expect(await commit(store, piece("upl_2", 1, " more"))).toEqual([unknown]);
  });

  test("a copy names what its messages name, and outlives what it was copied from", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), ...upload("att_1", "one"), ...upload("att_2", "two"));
    await commitAll(store, tell("ses_a", "msg_1", ["att_1"]), tell("ses_a", "msg_2", ["att_2"]));
    await commitAll(store, copyOf("ses_a", "ses_c", { owner: "bob", message_id: "msg_1" }));
    expect(await contentOf(store, "ses_c", "att_1")).toBe("one");
    expect(await store.attachment("ses_c", "att_2")).toBeNull();
    await commitAll(store, close("ses_a"));
    expect(await store.attachment("ses_a", "att_1")).toBeNull();
    await erased(store, "ses_a", 1);
    await store.expire(START + HOUR, 1_000);
    expect(await contentOf(store, "ses_c", "att_1")).toBe("one");
  });

  test("a user holds so many files and bytes, and a content only once", async () => {
    await using fixture = await make({ attachments_per_user: 4, attachment_bytes_per_user: 10 });
    const { store } = fixture;
    await commitAll(store, create("ses_a"), ...upload("att_1", "12345"), ...upload("att_2", "12345"));
    expect(await commit(store, piece("upl_3", 0, "123456"))).toEqual([full("attachment_bytes_per_user")]);
    expect(await commit(store, piece("upl_4", 0, "123456", "bob"))).toMatchObject([{ ok: true }]);
    await commitAll(store, tell("ses_a", "msg_1", ["att_1", "att_2"]));
    expect(await commit(store, piece("upl_5", 0, "1"))).toEqual([full("attachments_per_user")]);
    await store.expire(START + HOUR, 1_000);
    await commitAll(store, ...upload("att_5", "abcde"));
    expect(await commit(store, piece("upl_6", 0, "1"))).toEqual([full("attachment_bytes_per_user")]);
  });

  test("what is being received counts, and what is given up does not", async () => {
    await using fixture = await make({ attachment_bytes_per_user: 10 });
    const { store } = fixture;
    await commitAll(store, piece("upl_1", 0, "123456"));
    expect(await commit(store, piece("upl_1", 1, "12345"), piece("upl_2", 0, "12345"))).toEqual([
      full("attachment_bytes_per_user"),
      full("attachment_bytes_per_user"),
    ]);
    await commitAll(store, append(null, [], [{ kind: "upload.drop", upload_id: "upl_1" }]));
    await commitAll(store, ...upload("att_2", "1234567890"));
  });

  test("what a session names counts for its owner: in a message of an editor, in a copy, after a transfer", async () => {
    await using fixture = await make({ attachment_bytes_per_user: 10 });
    const { store } = fixture;
    await commitAll(store, create("ses_a"), create("ses_b", { owner: "bob" }));
    await commitAll(store, ...upload("att_1", "123456"), ...upload("att_2", "abcdef", "bob"));
    await commitAll(store, tell("ses_a", "msg_1", ["att_1"]), tell("ses_b", "msg_1", ["att_2"], "bob"));
    // bob writes in ada's session.
    expect(await commit(store, tell("ses_a", "msg_2", ["att_2"], "bob"))).toEqual([
      full("attachment_bytes_per_user"),
    ]);
    expect(await commit(store, copyOf("ses_a", "ses_c", { owner: "bob" }))).toEqual([
      full("attachment_bytes_per_user"),
    ]);
    await commitAll(
      store,
      append("ses_b", [event("session.updated")], [{ kind: "session.transfer", owner: "ada" }]),
    );
    await store.expire(START + HOUR, 1_000);
    expect(await contentOf(store, "ses_b", "att_2")).toBe("abcdef");
    expect(await commit(store, piece("upl_3", 0, "1"))).toEqual([full("attachment_bytes_per_user")]);
    await commitAll(store, ...upload("att_4", "1234567890", "bob"));
  });

  test("nothing is left of a user who is forgotten, and of a session that is erased", async () => {
    await using fixture = await make({ attachments_per_user: 2, attachment_bytes_per_user: 6 });
    const { store } = fixture;
    await commitAll(store, create("ses_a"), ...upload("att_1", "123"), tell("ses_a", "msg_1", ["att_1"]));
    await commitAll(store, close("ses_a"));
    await erased(store, "ses_a", 1);
    await commitAll(store, piece("upl_2", 0, "456"));
    await commitAll(store, { kind: "forget", user: "ada", max_rows: 100 });
    expect(await store.uploads("ada", ["att_1"])).toEqual([]);
    expect(await commit(store, done("upl_2", file("att_2", "456")))).toEqual([unknown]);
    await commitAll(store, ...upload("att_3", "abc"), ...upload("att_4", "def"));
  });
}
