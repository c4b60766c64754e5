import type { ResultFor } from "../client/methods.ts";
import { administer } from "./administer.ts";
import { enabledOf, idOf, stateOf } from "./automation.ts";
import type { Command, Input, OptionSpecs } from "./args.ts";
import { counted } from "./counted.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { moment, table } from "./table.ts";
import { TARGET_OPTIONS } from "./target.ts";

type Webhook = ResultFor<"webhook.list">["webhooks"][number];

const OPTIONS: OptionSpecs = { json: { summary: "as JSON" }, ...TARGET_OPTIONS };
const STORE = "Works on the running gateway; with none running on the store itself.";
const WHICH = "WEBHOOK is its id or its name.";

export const webhookCommands: readonly Command[] = [
  {
    name: "webhook create",
    summary: "have events delivered to a URL, and print the secret they are signed with, this once",
    usage: "URL TYPE...",
    details: `A TYPE is that of an event, as run.completed, or app.* for all that begin so. ${STORE}`,
    args: [2, 33],
    options: {
      name: { value: "NAME", summary: "what it is called" },
      all: { summary: "of everybody's sessions; default: of those you may read" },
      ...OPTIONS,
    },
    run: async (input, io) => {
      const [url = "", ...types] = input.args;
      const name = input.text("name");
      const sessions = input.on("all") ? "all" : "own";
      const params = { url, types, sessions, ...(name !== undefined && { name }) } as const;
      return tellIssued(input, io, await administer(input, io, "webhook.create", params));
    },
  },
  {
    name: "webhook list",
    summary: "the webhooks, and whether their receivers take what they are sent",
    usage: "",
    details: STORE,
    args: [0, 0],
    options: OPTIONS,
    run: async (input, io) => {
      const { webhooks } = await administer(input, io, "webhook.list", {});
      if (input.on("json")) outJson(io, { webhooks });
      else for (const line of tableOf(webhooks)) io.out(line);
      return EXIT.ok;
    },
  },
  {
    name: "webhook update",
    summary: "change a webhook, or turn it off and on",
    usage: "WEBHOOK [TYPE...]",
    details: `With TYPEs, those take the place of its own. What happens while it is off is not delivered. ${WHICH} ${STORE}`,
    args: [1, 33],
    options: {
      url: { value: "URL", summary: "where it is delivered to from now on" },
      enable: { summary: "deliver from now on" },
      disable: { summary: "deliver nothing" },
      ...OPTIONS,
    },
    run: update,
  },
  {
    name: "webhook rotate",
    summary: "a new secret; deliveries are signed with both for a day, or for --keep",
    usage: "WEBHOOK",
    details: `${WHICH} ${STORE}`,
    args: [1, 1],
    options: {
      keep: { value: "SECONDS", summary: "how long they are signed with the old one, too" },
      ...OPTIONS,
    },
    run: async (input, io) => {
      const keep = input.text("keep");
      if (keep !== undefined && !/^\d{1,6}$/.test(keep))
        throw new UsageError(`--keep takes seconds, not "${keep}"`);
      const webhook_id = await named(input, io);
      const params = { webhook_id, ...(keep !== undefined && { keep_secs: Number(keep) }) };
      return tellIssued(input, io, await administer(input, io, "webhook.rotate", params));
    },
  },
  {
    name: "webhook test",
    summary: "deliver one webhook.test now, and tell what the receiver did",
    usage: "WEBHOOK",
    details: WHICH,
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const answer = await administer(input, io, "webhook.test", { webhook_id: await named(input, io) });
      const text = answer.ok ? `taken: ${answer.status}` : `not taken: ${answer.reason ?? ""}`;
      tell(input, io, answer, `${text}, ${answer.ms} ms`);
      return answer.ok ? EXIT.ok : EXIT.failed;
    },
  },
  {
    name: "webhook deliveries",
    summary: "the deliveries that were given up",
    usage: "WEBHOOK",
    details: WHICH,
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const answer = await administer(input, io, "webhook.deliveries", {
        webhook_id: await named(input, io),
      });
      if (input.on("json")) outJson(io, answer);
      else {
        for (const line of deadOf(answer.dead)) io.out(line);
        if (answer.waiting_sessions > 0)
          io.err(`Something waits for ${counted(answer.waiting_sessions, "session")}.`);
      }
      return EXIT.ok;
    },
  },
  {
    name: "webhook redeliver",
    summary: "try deliveries that were given up once more: those named, or the oldest twenty",
    usage: "WEBHOOK [DELIVERY_ID...]",
    details: WHICH,
    args: [1, 21],
    options: OPTIONS,
    run: async (input, io) => {
      const delivery_ids = input.args.slice(1);
      const webhook_id = await named(input, io);
      const params = { webhook_id, ...(delivery_ids.length > 0 && { delivery_ids }) };
      const answer = await administer(input, io, "webhook.redeliver", params);
      tell(input, io, answer, `delivered: ${answer.delivered.length}, failed: ${answer.failed.length}`);
      return answer.failed.length === 0 ? EXIT.ok : EXIT.failed;
    },
  },
  {
    name: "webhook delete",
    summary: "end a webhook, with what it was still owed",
    usage: "WEBHOOK",
    details: `${WHICH} ${STORE}`,
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const answer = await administer(input, io, "webhook.delete", { webhook_id: await named(input, io) });
      tell(input, io, answer, answer.deleted ? "deleted" : "there was none");
      return EXIT.ok;
    },
  },
];

async function update(input: Input, io: Io): Promise<number> {
  const [url, types] = [input.text("url"), input.args.slice(1)];
  const changed = await administer(input, io, "webhook.update", {
    webhook_id: await named(input, io),
    ...(url !== undefined && { url }),
    ...(types.length > 0 && { types }),
    ...enabledOf(input, "webhook update"),
  });
  tell(input, io, changed, changed.enabled ? "changed" : "changed; it is off");
  return EXIT.ok;
}

async function named(input: Input, io: Io): Promise<string> {
  const { webhooks } = await administer(input, io, "webhook.list", {});
  return idOf(input.args[0] ?? "", webhooks, "webhook", ({ webhook_id }) => webhook_id);
}

function tellIssued(input: Input, io: Io, webhook: ResultFor<"webhook.create">): number {
  if (input.on("json")) outJson(io, webhook);
  else {
    io.out(webhook.secret);
    io.err(`${webhook.webhook_id}: this is the only time the secret is shown.`);
  }
  return EXIT.ok;
}

function tell(input: Input, io: Io, answer: unknown, text: string): void {
  if (input.on("json")) outJson(io, answer);
  else io.out(text);
}

function tableOf(webhooks: readonly Webhook[]): string[] {
  return table(
    ["id", "name", "user", "url", "events", "state"],
    webhooks.map(({ webhook_id, name, owner, url, types, reason, failing_since, ...webhook }) => [
      webhook_id,
      name === "" ? "-" : name,
      owner,
      url,
      types.join(" "),
      !webhook.enabled && reason !== undefined
        ? `off: ${reason}`
        : failing_since === undefined
          ? stateOf(webhook)
          : `failing since ${moment(failing_since)}`,
    ]),
  );
}

function deadOf(dead: ResultFor<"webhook.deliveries">["dead"]): string[] {
  return table(
    ["delivery", "event", "session", "seq", "given up", "attempts", "reason"],
    dead.map(({ delivery_id, type, session_id, seq, failed_at, attempts, reason }) => [
      delivery_id,
      type,
      session_id,
      String(seq),
      moment(failed_at),
      String(attempts),
      reason,
    ]),
  );
}
