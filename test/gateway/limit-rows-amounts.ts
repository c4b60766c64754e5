import { script } from "../support/model-script.ts";
import type { LimitGroup, Reached } from "./limit-rows.ts";
import { fresh, refusedBy } from "./limit-rows.ts";
import { openRaw } from "./raw-socket.ts";
import type { Person, Stack } from "./stack.ts";
import { ended, eventually } from "./stack.ts";

/** What one user or one session may have, told by every method that makes one more. */
const full = { code: "CONFLICT", kind: "full" } as const;

async function fill(person: Person, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await person.call("session.create", { session_id: `s${i}` });
}

const inject = (person: Person, params: Record<string, unknown>): Promise<unknown> =>
  person.call("chat.inject", { session_id: "s0", role: "user", content: "x", ...params });

export const AMOUNTS: LimitGroup = {
  name: "how much of it",
  config: {
    limits: {
      subscriptions: 2,
      queued_runs: 1,
      sessions_per_user: 3,
      messages_per_session: 4,
      keys_per_user: 2,
      tickets: 4,
      tickets_per_user: 3,
      ticket_ttl_ms: 2_000,
    },
  },
  rows: [
    {
      option: "subscriptions",
      value: 2,
      ways: {
        "on one socket": {
          says: full,
          reach: async (stack) => {
            const person = await fresh(stack);
            await fill(person, 3);
            await using socket = await person.connect();
            for (const session_id of ["s0", "s1"]) await socket.request("session.subscribe", { session_id });
            const reached = await refusedBy(socket.request("session.subscribe", { session_id: "s2" }));
            await socket.request("session.unsubscribe", { session_id: "s0" });
            await socket.request("session.subscribe", { session_id: "s2" });
            return reached;
          },
        },
      },
      again: async () => undefined,
    },
    {
      option: "queued_runs",
      value: 1,
      ways: {
        "in one session": {
          says: full,
          reach: async (stack) => {
            const person = await fresh(stack);
            stack.model.otherwise(() => script().text("x").hang());
            const send = (): Promise<unknown> => person.call("chat.send", { session_id: "q", message: "x" });
            await send();
            await send();
            const reached = await refusedBy(send());
            await person.call("chat.abort", { session_id: "q" });
            await eventually(
              async () => (await person.call("session.get", { session_id: "q" })).active_run_id,
              (run) => run === undefined,
            );
            await send();
            await person.call("chat.abort", { session_id: "q" });
            return reached;
          },
        },
      },
      again: async () => undefined,
    },
    {
      option: "sessions_per_user",
      value: 3,
      ways: Object.fromEntries(
        (
          [
            ["session.create", {}],
            ["chat.send", { message: "x" }],
            ["session.fork", { session_id: "s0" }],
          ] as const
        ).map(([method, params]) => [
          `by ${method}`,
          {
            says: full,
            reach: async (stack: Stack) => {
              const person = await fresh(stack);
              await fill(person, 3);
              const reached = await refusedBy(person.call(method, params));
              await person.call("session.delete", { session_id: "s1" });
              await person.call("session.create", {});
              return reached;
            },
          },
        ]),
      ),
      again: async (stack) => fill(await fresh(stack), 3),
    },
    {
      option: "messages_per_session",
      value: 4,
      ways: {
        "by a message": {
          says: full,
          reach: async (stack) => {
            const person = await fresh(stack);
            await fill(person, 2);
            for (let i = 0; i < 4; i++) await inject(person, {});
            const reached = await refusedBy(inject(person, {}));
            await inject(person, { session_id: "s1" });
            return reached;
          },
        },
        "by an answer, whose run fails": {
          says: full,
          reach: async (stack) => {
            const person = await fresh(stack);
            await fill(person, 1);
            for (let i = 0; i < 3; i++) await inject(person, {});
            stack.model.otherwise(() => script().text("one too many"));
            const { run_id } = await person.call("chat.send", { session_id: "s0", message: "x" });
            return { error: (await ended(person, run_id)).error };
          },
        },
      },
      again: async () => undefined,
    },
    {
      option: "keys_per_user",
      value: 2,
      ways: {
        "by one user": {
          says: full,
          reach: async (stack) => {
            const person = await fresh(stack);
            await fill(person, 1);
            for (const idempotency_key of ["a", "b"]) await inject(person, { idempotency_key });
            const reached = await refusedBy(inject(person, { idempotency_key: "c" }));
            await inject(person, { idempotency_key: "a" });
            await inject(person, {});
            return reached;
          },
        },
      },
      again: async () => undefined,
    },
    {
      option: "tickets_per_user",
      value: 3,
      ways: {
        "by one user": {
          says: { code: "RATE_LIMITED", kind: "tickets" },
          reach: async (stack) => {
            const person = await fresh(stack);
            for (let i = 0; i < 3; i++) await person.call("ticket.create");
            const reached = await refusedBy(person.call("ticket.create"));
            // Another one still gets the last.
            await (await fresh(stack)).call("ticket.create");
            return reached;
          },
        },
      },
      // Those that are out are too old after a while.
      again: async ({ owner }) =>
        eventually(
          () =>
            owner.call("ticket.create").then(
              () => true,
              () => false,
            ),
          (given) => given,
        ),
    },
    {
      option: "tickets",
      value: 4,
      ways: {
        "by several users": {
          says: { code: "RATE_LIMITED", kind: "tickets" },
          reach: async (stack) => {
            const refused = await Promise.all(
              Array.from({ length: 6 }, async () => {
                const outcome = (await fresh(stack)).call("ticket.create");
                return outcome.then(
                  () => null,
                  (error: Reached["error"]) => error,
                );
              }),
            );
            const [error] = refused.filter((each) => each !== null);
            if (error === undefined) throw new Error("six tickets were given");
            return { error };
          },
        },
      },
      again: async ({ owner }) =>
        eventually(
          () =>
            owner.call("ticket.create").then(
              () => true,
              () => false,
            ),
          (given) => given,
        ),
    },
  ],
};

export const JOURNAL: LimitGroup = {
  name: "what waits to be written",
  config: { limits: { journal_queue_bytes: 1 } },
  rows: [
    {
      option: "journal_queue_bytes",
      value: 1,
      ways: {
        "by many at once": {
          says: { code: "UNAVAILABLE", kind: "journal" },
          reach: async ({ owner, gateway }) => {
            for (let i = 0; i < 16; i++) await owner.call("session.create", { session_id: `j${i}` });
            await using socket = await openRaw(gateway.address, owner.token);
            const inject = (i: number): object => ({
              type: "req",
              id: `i${i}`,
              method: "chat.inject",
              params: { session_id: `j${i}`, role: "user", content: "x" },
            });
            socket.write(...Array.from({ length: 16 }, (_, i) => inject(i)));
            const answers = await eventually(
              () => socket.frames.filter(({ type }) => type === "res"),
              ({ length }) => length === 16,
            );
            const refused = answers.find(({ ok }) => ok !== true);
            if (refused === undefined) throw new Error("all of them were taken");
            return { error: refused.error };
          },
        },
      },
      again: ({ owner }) => owner.call("chat.inject", { session_id: "j0", role: "user", content: "x" }),
    },
  ],
};
