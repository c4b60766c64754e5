import type { Command } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { jsonLine } from "./io.ts";
import type { Client } from "../client/client.ts";
import type { SubscribeOptions } from "../client/subscription.ts";
import { TARGET_OPTIONS, connectTo, findTarget } from "./target.ts";

export const watch: Command = {
  name: "watch",
  summary: "the events of a session as JSON lines, until Ctrl-C; resumes",
  usage: "SESSION",
  details:
    "The first line says where the events start: session.resumed, session.snapshot or session.reset, as in the SSE stream.",
  args: [1, 1],
  options: {
    after: { value: "EPOCH.SEQ", summary: "start after this event; 0: from the beginning of the log" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    const after = input.text("after");
    const start = after === undefined ? {} : parseCursor(after);
    const client = await connectTo(findTarget(input, io), { client_name: "agentbus watch" });
    try {
      await follow(client, input.args[0] ?? "", start, io);
      return EXIT.ok;
    } finally {
      client.disconnect();
    }
  },
};

/** Resolves when the person has seen enough; rejects when there is nothing more to see. */
function follow(client: Client, session: string, start: SubscribeOptions, io: Io): Promise<void> {
  const line = (value: unknown): void => io.out(jsonLine(io, value));
  return new Promise((resolve, reject) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
    client.subscribe(session, start, {
      opened: ({ mode, ...opening }) =>
        line({ event: mode === "resume" ? "session.resumed" : `session.${mode}`, ...opening }),
      event: line,
      ended: reject,
    });
  });
}

function parseCursor(text: string): SubscribeOptions {
  if (text === "0") return { after: 0, catch_up: "log" };
  const [, epoch, seq] = /^([a-z0-9]{8})\.(\d{1,16})$/.exec(text) ?? [];
  if (epoch === undefined)
    throw new UsageError(`"${text}" is no cursor: write EPOCH.SEQ, like k3v9q2a7.42, or 0`);
  return { epoch, after: Number(seq), catch_up: "log" };
}
