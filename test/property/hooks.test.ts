import { expect, test } from "bun:test";
import fc from "fast-check";
import { says, silentLog, startEngine } from "../support/engine.ts";

/** Whatever hooks answer and however long they take: order, lanes and ends are as without them. */

const CONNECTIONS = 3;
const RUNS = 60;

interface Sent {
  readonly connection: number;
  readonly session: "a" | "b";
  /** Turns of the event loop the hook takes; 0: it answers at once. */
  readonly turns: number;
  readonly verdict: "pass" | "refuse" | "change";
  readonly on_busy: "queue" | "steer" | "interrupt" | "reject";
}

const sent: fc.Arbitrary<Sent> = fc.record({
  connection: fc.nat(CONNECTIONS - 1),
  session: fc.constantFrom("a", "b"),
  turns: fc.nat(4),
  verdict: fc.constantFrom("pass", "pass", "refuse", "change"),
  on_busy: fc.constantFrom("queue", "queue", "steer", "interrupt", "reject"),
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Told {
  readonly message: string;
  readonly outcome: string;
}

async function play(plan: readonly Sent[]) {
  const scene = await startEngine({ script: says("a", "b") });
  const failures: string[] = [];
  const of = (message: string): Sent | undefined => plan[Number.parseInt(message, 10)];
  const runs: string[] = [];
  scene.engine.hooks.add(
    { name: "odd", log: silentLog, failed: (error) => void failures.push(error.message) },
    {
      before_message({ message }) {
        const { turns = 0, verdict = "pass" } = of(message) ?? {};
        const answer =
          verdict === "refuse"
            ? { refuse: "no" }
            : verdict === "change"
              ? { message: `${message} changed` }
              : undefined;
        return turns === 0 ? answer : after(turns, answer);
      },
      before_run: ({ run_id }) =>
        run_id.charCodeAt(run_id.length - 1) % 3 === 0 ? { refuse: "no" } : undefined,
      after_run: ({ run }) => void runs.push(run.run_id),
    },
  );
  const owner = scene.connect();
  for (const session_id of ["a", "b"]) {
    await owner.request("session.create", { session_id });
    await owner.request("session.subscribe", { session_id });
  }
  const connections = Array.from({ length: CONNECTIONS }, () => scene.connect());
  const told = await Promise.all(
    plan.map(async ({ connection, session, on_busy }, i): Promise<Told> => {
      const message = `${i}`;
      const params = { session_id: session, message, on_busy, subscribe: false };
      const asked = connections[connection]?.request("chat.send", params);
      return Promise.resolve(asked).then(
        () => ({ message, outcome: "accepted" }),
        (error: { details?: { kind?: string } }) => ({ message, outcome: error.details?.kind ?? "unknown" }),
      );
    }),
  );
  await scene.engine.runs.settled();
  await scene.engine.hooks.idle();
  const { lanes } = scene.engine.runs;
  const events = owner.events();
  const left = { running: lanes.running, queued: lanes.queued };
  await scene.close();
  return { told, events, failures, left, runs };
}

async function after<T>(turns: number, answer: T): Promise<T> {
  for (let i = 0; i < turns; i++) await turn();
  return answer;
}

test("messages keep their order, refused ones leave nothing, every run ends once and every lane is free", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(sent, { minLength: 1, maxLength: 14 }), async (plan) => {
      const { told, events, failures, left, runs } = await play(plan);
      expect(failures).toEqual([]);
      expect(left).toEqual({ running: 0, queued: 0 });
      for (const [i, { verdict }] of plan.entries()) {
        const outcome = told[i]?.outcome;
        if (verdict === "refuse") expect(outcome).toBe("refused");
        else expect(["accepted", "busy", "full"]).toContain(outcome ?? "");
      }
      for (const session of ["a", "b"]) {
        const written = events
          .filter(({ event, session_id }) => event === "message.created" && session_id === session)
          .map(({ payload }) => (payload["message"] as { content: string }).content);
        for (let connection = 0; connection < CONNECTIONS; connection++) {
          const mine = plan.flatMap((each, i) =>
            each.connection === connection && each.session === session && told[i]?.outcome === "accepted"
              ? [each.verdict === "change" ? `${i} changed` : `${i}`]
              : [],
          );
          expect(written.filter((text) => mine.includes(text))).toEqual(mine);
        }
      }
      const queued = events.filter(({ event }) => event === "run.queued").length;
      const ended = events.filter(({ event }) => /^run\.(completed|failed|aborted|interrupted)$/.test(event));
      expect(ended).toHaveLength(queued);
      expect(runs.toSorted()).toEqual(ended.map(({ run_id }) => String(run_id)).toSorted());
    }),
    { numRuns: RUNS },
  );
}, 60_000);
