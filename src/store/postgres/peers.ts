import type { SQL } from "bun";
import type { PeerAnswer, PeerAnswers, Peers } from "../../core/cluster.ts";
import type { Clock, Logger } from "../../core/ports.ts";
import { describeFailure } from "./failures.ts";
import type { Pool } from "./pool.ts";
import { Post } from "./post.ts";

export const PEERS_CHANNEL = "agentbus_peers";

export interface PostgresPeersOptions {
  /** What is said goes through it. */
  readonly pool: Pool;
  readonly boot: string;
  readonly clock: Clock;
  readonly log: Logger;
}

type Told = (body: unknown) => void;
type Asked = (body: unknown) => unknown;

/** One question until it is answered by everybody, or its time is over. */
interface Question {
  /** By boot. */
  readonly answers: Map<string, unknown>;
  /** Names by boot of those that are waited for; null: it is not known yet who lives. */
  living: ReadonlyMap<string, string> | null;
  readonly looked: () => void;
}

/** A node that was heard of. */
interface Sender {
  /** The number of the last letter. */
  last: number;
  /** Its letters, opened one after the other. */
  opening: Promise<void>;
}

type Word =
  | { readonly tell: unknown }
  | { readonly ask: string; readonly body: unknown }
  | { readonly answers: string; readonly body: unknown };

/** Questions that are open at once. */
const QUESTIONS = 1_000;
/** Senders whose last letter is remembered. */
const SENDERS = 1_000;
/** Whoever was met counts as alive for so long, whatever was counted before. */
const MET_MS = 60_000;
const UNKNOWN = "unknown";

/**
 * What nodes say to one another, over the channel of a connection that listens. What is longer than a notification stands
 * in a row for a minute.
 */
export class PostgresPeers implements Peers {
  readonly #options: PostgresPeersOptions;
  readonly #post: Post;
  readonly #onTold = new Set<Told>();
  readonly #questions = new Map<string, Question>();
  readonly #senders = new Map<string, Sender>();
  /** Questions that were not sent yet: who asks the same is answered with them. */
  readonly #unsent = new Map<string, Promise<PeerAnswers>>();
  #onAsked: Asked = () => null;
  #others = 0;
  #metUntil = -Infinity;
  #asked = 0;
  #closed = false;

  constructor(options: PostgresPeersOptions) {
    this.#options = options;
    this.#post = new Post({ ...options, channel: PEERS_CHANNEL });
  }

  get isAlone(): boolean {
    return this.#others === 0 && this.#options.clock.monotonic() > this.#metUntil;
  }

  tell(body: unknown): void {
    if (this.isAlone || this.#closed) return;
    this.#post.put({ to: null, text: JSON.stringify({ tell: body } satisfies Word) });
  }

  ask(body: unknown, ms: number): Promise<PeerAnswers> {
    if (this.isAlone || this.#closed) return Promise.resolve({ answers: [], missing: [] });
    const key = `${ms} ${JSON.stringify(body)}`;
    const same = this.#unsent.get(key);
    if (same !== undefined) return same;
    const asking = this.#ask(body, ms, () => this.#unsent.delete(key));
    this.#unsent.set(key, asking);
    return asking;
  }

  onTold(listener: Told): () => void {
    this.#onTold.add(listener);
    return () => void this.#onTold.delete(listener);
  }

  onAsked(answer: Asked): () => void {
    this.#onAsked = answer;
    return () => void (this.#onAsked = () => null);
  }

  /** Now and then: how many other nodes live. */
  check(others: number): void {
    this.#others = others;
  }

  /** A connection that listens to nothing of this yet. */
  attach(line: SQL): void {
    line
      .listen(
        PEERS_CHANNEL,
        (payload) => this.#hear(payload),
        // Those that live need not find out by themselves that there is another one.
        () => this.#post.put({ to: null, text: "" }),
      )
      // Who has the connection tells, and makes another.
      .catch(() => undefined);
  }

  /** Resolves when what was told by now is on its way. Never rejects. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#post.close();
  }

  async #ask(body: unknown, ms: number, sent: () => void): Promise<PeerAnswers> {
    const id = String(++this.#asked);
    if (this.#questions.size >= QUESTIONS) {
      sent();
      return { answers: [], missing: [UNKNOWN] };
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const question: Question = { answers: new Map(), living: null, looked: () => isAnswered() && resolve() };
    const isAnswered = (): boolean => {
      const { living, answers } = question;
      return living !== null && [...living.keys()].every((boot) => answers.has(boot));
    };
    this.#questions.set(id, question);
    const cancel = this.#options.clock.after(ms, resolve);
    this.#post.put({ to: null, text: JSON.stringify({ ask: id, body } satisfies Word), sent });
    void this.#living().then((living) => {
      question.living = living;
      question.looked();
    });
    await promise;
    cancel();
    sent();
    this.#questions.delete(id);
    return answersOf(question);
  }

  /** Names of the other nodes that live, by boot; null where nobody can say. */
  async #living(): Promise<ReadonlyMap<string, string> | null> {
    const { pool, boot, log } = this.#options;
    try {
      const rows = await pool.read((q) =>
        q.all<{ boot: string; name: string }>(
          "SELECT boot, name FROM nodes WHERE boot <> $1::text AND lease_until > clock_timestamp()",
          [boot],
        ),
      );
      return new Map(rows.map((row) => [row.boot, row.name]));
    } catch (error) {
      log.debug({ error: describeFailure(error) }, "which nodes live could not be read");
      return null;
    }
  }

  #hear(payload: string): void {
    const [from = "", no = "", to = "", ...rest] = payload.split(" ", 4);
    const { boot, log } = this.#options;
    if (from === boot || (to !== "*" && to !== boot)) return;
    const sender = this.#sender(from);
    // What was sent again because nobody knew whether it had been.
    if (Number(no) <= sender.last) return;
    sender.last = Number(no);
    const body = payload.slice(from.length + no.length + to.length + 3);
    sender.opening = sender.opening
      .then(async () => {
        const text = rest[0]?.startsWith("#") === true ? await this.#post.fetch(Number(body.slice(1))) : body;
        for (const word of JSON.parse(text ?? "[]") as Word[]) this.#read(word, from);
      })
      .catch((error: unknown) => {
        log.debug({ error: describeFailure(error) }, "what another node says could not be read");
      });
  }

  #sender(boot: string): Sender {
    const known = this.#senders.get(boot);
    if (known !== undefined) return known;
    this.#metUntil = this.#options.clock.monotonic() + MET_MS;
    const sender: Sender = { last: 0, opening: Promise.resolve() };
    this.#senders.set(boot, sender);
    const [oldest] = this.#senders.keys();
    if (this.#senders.size > SENDERS && oldest !== undefined) this.#senders.delete(oldest);
    return sender;
  }

  #read(word: Word, from: string): void {
    if ("tell" in word) {
      for (const listener of this.#onTold) listener(word.tell);
    } else if ("ask" in word) {
      void this.#answer(word.ask, word.body, from);
    } else {
      const question = this.#questions.get(word.answers);
      question?.answers.set(from, word.body);
      question?.looked();
    }
  }

  async #answer(id: string, asked: unknown, to: string): Promise<void> {
    try {
      const body = await this.#onAsked(asked);
      this.#post.put({ to, text: JSON.stringify({ answers: id, body: body ?? null } satisfies Word) });
    } catch (error) {
      this.#options.log.warn({ err: error }, "what another node asks could not be answered");
    }
  }
}

function answersOf({ answers, living }: Question): PeerAnswers {
  const found: PeerAnswer[] = [...answers].map(([boot, body]) => ({
    node: living?.get(boot) ?? UNKNOWN,
    body,
  }));
  if (living === null) return { answers: found, missing: [UNKNOWN] };
  return {
    answers: found,
    missing: [...living].flatMap(([boot, name]) => (answers.has(boot) ? [] : [name])),
  };
}
