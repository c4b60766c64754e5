import type { ParamsFor, ResultFor } from "../client/methods.ts";
import { administer } from "./administer.ts";
import { enabledOf, idOf, stateOf } from "./automation.ts";
import type { Command, Input, OptionSpecs } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson, readStdin } from "./io.ts";
import { oneOf } from "./one-of.ts";
import { table } from "./table.ts";
import { TARGET_OPTIONS } from "./target.ts";

type Hook = ResultFor<"hook.list">["hooks"][number];

const OPTIONS: OptionSpecs = { json: { summary: "as JSON" }, ...TARGET_OPTIONS };
const DETAILS = "Works on the running gateway; with none running on the store itself.";
const VERIFY = ["token", "hmac", "standard"] as const;
const DEDUPE = ["id", "body", "none"] as const;
const ON_BUSY = ["queue", "steer", "interrupt", "reject"] as const;
const CHOICES: OptionSpecs = {
  model: { value: "MODEL", summary: "who answers; default: the session's" },
  "on-busy": { value: "POLICY", summary: "queue, steer, interrupt or reject, while the session answers" },
  dedupe: { value: "BY", summary: "id (default), body or none: what makes a delivery the same as another" },
};

export const hookCommands: readonly Command[] = [
  {
    name: "hook create",
    summary: "let another service deliver messages, and print its secret, this once",
    usage: "NAME",
    details:
      "In --template and --session, {{path.to.value}} stands for what is there in the JSON that comes, {{$body}} for all " +
      `of it, {{$header.x-name}} for a header. ${DETAILS}`,
    args: [1, 1],
    options: {
      session: { value: "SESSION", summary: "whose message it becomes; made when it is needed" },
      template: { value: "TEXT", summary: "the message; default: {{$body}}" },
      verify: {
        value: "HOW",
        summary: "token (default), hmac (GitHub and others) or standard (Standard Webhooks)",
      },
      header: { value: "HEADER", summary: "where the proof stands, where it is no usual place" },
      "id-header": {
        value: "HEADER",
        summary: "where the id of a delivery stands, where it is no usual place",
      },
      "secret-stdin": { summary: "the sender has a secret already: read it from standard input" },
      ...CHOICES,
      ...OPTIONS,
    },
    run: create,
  },
  {
    name: "hook list",
    summary: "the hooks by which others deliver messages",
    usage: "",
    details: DETAILS,
    args: [0, 0],
    options: OPTIONS,
    run: async (input, io) => {
      const { hooks } = await administer(input, io, "hook.list", {});
      if (input.on("json")) outJson(io, { hooks });
      else for (const line of tableOf(hooks)) io.out(line);
      return EXIT.ok;
    },
  },
  {
    name: "hook update",
    summary: "change what becomes of a hook's deliveries, or turn it off and on",
    usage: "HOOK",
    details: `HOOK is its name or its id. ${DETAILS}`,
    args: [1, 1],
    options: {
      session: { value: "SESSION", summary: "whose message it becomes" },
      template: { value: "TEXT", summary: "the message" },
      ...CHOICES,
      enable: { summary: "take deliveries" },
      disable: { summary: "refuse them" },
      ...OPTIONS,
    },
    run: async (input, io) => {
      const params = { ...choicesOf(input), ...enabledOf(input, "hook update") };
      const hook = await administer(input, io, "hook.update", { hook_id: await named(input, io), ...params });
      tell(input, io, hook, hook.enabled ? "changed" : "changed; it is off");
      return EXIT.ok;
    },
  },
  {
    name: "hook rotate",
    summary: "a new secret; the old one stops working at once, or after --keep",
    usage: "HOOK",
    details: `HOOK is its name or its id. ${DETAILS}`,
    args: [1, 1],
    options: {
      keep: { value: "SECONDS", summary: "how long the old one works, too" },
      "secret-stdin": { summary: "the sender has a secret already: read it from standard input" },
      ...OPTIONS,
    },
    run: async (input, io) => {
      const keep = input.text("keep");
      if (keep !== undefined && !/^\d{1,6}$/.test(keep))
        throw new UsageError(`--keep takes seconds, not "${keep}"`);
      const hook = await administer(input, io, "hook.rotate", {
        hook_id: await named(input, io),
        ...(keep !== undefined && { keep_secs: Number(keep) }),
        ...(await secretOf(input, io)),
      });
      tellIssued(input, io, hook);
      return EXIT.ok;
    },
  },
  {
    name: "hook delete",
    summary: "end a hook: nothing is delivered by it any more",
    usage: "HOOK",
    details: `HOOK is its name or its id. ${DETAILS}`,
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const answer = await administer(input, io, "hook.delete", { hook_id: await named(input, io) });
      tell(input, io, answer, answer.deleted ? "deleted" : "there was none");
      return EXIT.ok;
    },
  },
];

async function create(input: Input, io: Io): Promise<number> {
  const name = input.args[0] ?? "";
  const [verify, header, id_header] = [input.text("verify"), input.text("header"), input.text("id-header")];
  const { session_id, template = "{{$body}}", ...choices } = choicesOf(input);
  if (session_id === undefined)
    throw new UsageError("hook create: say --session SESSION, whose message it becomes");
  const hook = await administer(input, io, "hook.create", {
    name,
    session_id,
    template,
    ...choices,
    ...(verify !== undefined && { verify: oneOf("--verify", verify, VERIFY) }),
    ...(header !== undefined && { header }),
    ...(id_header !== undefined && { id_header }),
    ...(await secretOf(input, io)),
  });
  tellIssued(input, io, hook);
  return EXIT.ok;
}

function choicesOf(input: Input): Omit<ParamsFor<"hook.update">, "hook_id"> {
  const [session_id, template, model] = [input.text("session"), input.text("template"), input.text("model")];
  const [on_busy, dedupe] = [input.text("on-busy"), input.text("dedupe")];
  return {
    ...(session_id !== undefined && { session_id }),
    ...(template !== undefined && { template }),
    ...(model !== undefined && { model }),
    ...(on_busy !== undefined && { on_busy: oneOf("--on-busy", on_busy, ON_BUSY) }),
    ...(dedupe !== undefined && { dedupe: oneOf("--dedupe", dedupe, DEDUPE) }),
  };
}

async function named(input: Input, io: Io): Promise<string> {
  const { hooks } = await administer(input, io, "hook.list", {});
  return idOf(input.args[0] ?? "", hooks, "hook", ({ hook_id }) => hook_id);
}

async function secretOf(input: Input, io: Io): Promise<{ secret?: string }> {
  return input.on("secret-stdin") ? { secret: (await readStdin(io)).trim() } : {};
}

function tellIssued(input: Input, io: Io, hook: ResultFor<"hook.create">): void {
  if (input.on("json")) return outJson(io, hook);
  if (hook.secret !== undefined) {
    io.out(hook.secret);
    io.err("This is the only time the secret is shown.");
  }
  io.err(`Have it delivered to POST ${hook.path}, its proof in the header ${hook.header} (${hook.verify}).`);
}

function tell(input: Input, io: Io, answer: unknown, text: string): void {
  if (input.on("json")) outJson(io, answer);
  else io.out(text);
}

function tableOf(hooks: readonly Hook[]): string[] {
  return table(
    ["name", "id", "user", "session", "proof", "state"],
    hooks.map(({ name, hook_id, owner, session_id, verify, header, ...hook }) => [
      name,
      hook_id,
      owner,
      session_id,
      `${verify} in ${header}`,
      stateOf(hook),
    ]),
  );
}
