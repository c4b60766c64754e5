import type { LimitGroup, LimitRow, Reached } from "./limit-rows.ts";
import { refusedBy, refusedIn } from "./limit-rows.ts";
import type { Stack } from "./stack.ts";
import { ended } from "./stack.ts";

type Calls = Readonly<Record<string, (n: number) => [method: string, params: Record<string, unknown>]>>;

/** A size, told the same over a socket and over REST, by every method that takes it. */
function size(option: LimitRow["option"], value: number, calls: Calls): LimitRow {
  const says = { code: "TOO_LARGE", kind: option } as const;
  const ways = Object.entries(calls).flatMap(([name, call]) => [
    [
      `${name}, on a socket`,
      {
        says,
        reach: async ({ owner }: Stack): Promise<Reached> => {
          await using socket = await owner.connect();
          return await refusedBy(socket.request(...call(value + 1)));
        },
      },
    ],
    [
      `${name}, over REST`,
      {
        says: { ...says, status: 413 },
        reach: ({ owner }: Stack): Promise<Reached> => {
          const [method, body] = call(value + 1);
          return refusedIn(owner.ask("POST", `/api/v1/rpc/${method}`, { body }));
        },
      },
    ],
  ]);
  return {
    option,
    value,
    ways: Object.fromEntries(ways),
    again: async ({ owner }) => {
      for (const call of Object.values(calls)) await owner.call(...call(value));
    },
  };
}

const text = (length: number): string => "x".repeat(length);
/** A JSON object of so many bytes. */
const object = (bytes: number): object => ({ a: text(bytes - '{"a":""}'.length) });
const SESSION = { session_id: "sized" };

export const SAID: LimitGroup = {
  name: "what is said",
  config: {
    limits: {
      message_bytes: 100,
      assistant_bytes: 60,
      completed_inline_bytes: 60,
      title_chars: 10,
      metadata_bytes: 40,
      system_prompt_bytes: 50,
      broadcast_bytes: 45,
    },
  },
  rows: [
    size("message_bytes", 100, {
      "chat.send": (n) => ["chat.send", { session_id: "m", message: text(n), on_busy: "interrupt" }],
      "chat.inject": (n) => ["chat.inject", { ...SESSION, role: "user", content: text(n) }],
    }),
    size("title_chars", 10, {
      "session.create": (n) => ["session.create", { title: text(n) }],
      "session.update": (n) => ["session.update", { ...SESSION, title: text(n) }],
    }),
    size("metadata_bytes", 40, {
      "session.create": (n) => ["session.create", { metadata: object(n) }],
      "session.update": (n) => ["session.update", { ...SESSION, metadata: object(n) }],
      "chat.send": (n) => [
        "chat.send",
        { session_id: "m", message: "x", metadata: object(n), on_busy: "interrupt" },
      ],
    }),
    size("system_prompt_bytes", 50, {
      "session.create": (n) => ["session.create", { system_prompt: text(n) }],
      "session.update": (n) => ["session.update", { ...SESSION, system_prompt: text(n) }],
    }),
    size("broadcast_bytes", 45, {
      "event.broadcast": (n) => ["event.broadcast", { event: "app.x", payload: object(n) }],
      "event.send": (n) => ["event.send", { ...SESSION, event: "app.x", payload: object(n) }],
    }),
    {
      option: "assistant_bytes",
      value: 60,
      ways: {
        "by a run, which fails": {
          says: { code: "TOO_LARGE", kind: "message" },
          reach: async ({ owner, model }) => {
            model.reply().text(text(61));
            const { run_id } = await owner.call("chat.send", { session_id: "long", message: "go" });
            const run = await ended(owner, run_id);
            if (run.status !== "failed") throw new Error(`the run is ${run.status}`);
            return { error: run.error };
          },
        },
      },
      again: async ({ owner, model }) => {
        model.reply().text(text(60));
        const { run_id } = await owner.call("chat.send", { session_id: "long", message: "go" });
        const run = await ended(owner, run_id);
        if (run.status !== "completed") throw new Error(`the run is ${run.status}`);
      },
    },
  ],
};
