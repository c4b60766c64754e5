import type { StoreItem } from "../../src/core/operation.ts";
import { termsOf } from "../../src/core/search.ts";
import type { Store } from "../../src/core/store.ts";

/** Who owns what was said. */
const USERS = 10;
const A_SESSION = 1_000;
const A_GROUP = 250;
const WORDS = 20_000;
export const WORDS_A_MESSAGE = 60;
const QUERIES = 400;

/** Words of every frequency. */
export function vocabulary(): string[] {
  return Array.from({ length: WORDS }, (_, i) => ((i * 7_919) % 100_003).toString(36).padStart(5, "word"));
}

/** Few words are said often, most of them seldom. */
function pick(words: readonly string[]): string {
  return words[Math.floor(Math.random() ** 3 * words.length)] ?? "";
}

/** Has so many messages said, in sessions of a thousand. Nothing is findable yet. */
export async function fill(store: Store, count: number, words: readonly string[]): Promise<void> {
  for (let at = 0; at < count; at += A_GROUP) {
    const group: StoreItem[] = [];
    for (let i = at; i < Math.min(count, at + A_GROUP); i++) {
      const session = `ses_${Math.floor(i / A_SESSION)}`;
      if (i % A_SESSION === 0) group.push(made(session, `user${Math.floor(i / A_SESSION) % USERS}`));
      const content = Array.from({ length: WORDS_A_MESSAGE }, () => pick(words)).join(" ");
      group.push(said(session, `msg_${i}`, content));
    }
    const result = await store.commit(group);
    if (!result.ok) throw new Error(`the store refused: ${result.refused}`);
  }
}

/** A session of somebody, without a name. */
export function made(session: string, owner: string): StoreItem {
  const empty = {
    name: null,
    epoch: "epoch001",
    title: "",
    model: null,
    system_prompt: null,
    metadata: "{}",
  };
  const row = { kind: "session.create", owner, ...empty, created_at: 1, revive: false } as const;
  return append(session, "session.created", [row]);
}

/** A message as it stands in the store. */
export function said(session: string, message_id: string, content: string, more: object = {}): StoreItem {
  const data = JSON.stringify({ message_id, role: "user", content, ...more });
  const row = { role: "user", status: "complete", run_id: null, data } as const;
  return append(session, "message.created", [{ kind: "message.put", event: 0, message_id, ...row }]);
}

function append(
  session: string,
  type: string,
  rows: Extract<StoreItem, { kind: "append" }>["rows"],
): StoreItem {
  const events = [{ type, ts: 1, run_id: null, payload: "{}" }];
  return { kind: "append", session, run: null, ack: false, events, rows };
}

export interface Asked {
  /** How long each question took, ms. */
  readonly times: number[];
  /** Questions to which something was found. */
  readonly answered: number;
}

/** 400 questions: one word or two of them, whole or begun. */
export async function ask(store: Store, words: readonly string[]): Promise<Asked> {
  const times: number[] = [];
  let answered = 0;
  for (let i = 0; i < QUERIES; i++) {
    const query = [pick(words), ...(i % 2 === 0 ? [pick(words)] : [])].join(" ");
    const terms = termsOf(i % 4 === 0 ? query.slice(0, -1) : query);
    if (terms === null) continue;
    const began = performance.now();
    const { found } = await store.search({ user: `user${i % USERS}`, shared: [], terms, limit: 20 });
    times.push(performance.now() - began);
    if (found.length > 0) answered++;
  }
  return { times, answered };
}
