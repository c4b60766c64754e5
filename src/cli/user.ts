import type { ResultFor } from "../client/methods.ts";
import { administer } from "./administer.ts";
import type { Command, Input, OptionSpecs } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { moment, table } from "./table.ts";
import { TARGET_OPTIONS } from "./target.ts";

type User = ResultFor<"user.list">["users"][number];

const OPTIONS: OptionSpecs = { json: { summary: "as JSON" }, ...TARGET_OPTIONS };
const DETAILS = "Works on the running gateway; with none running on the store itself.";

export const userCommands: readonly Command[] = [
  {
    name: "user list",
    summary: "everybody who has a credential or a session",
    usage: "",
    details: DETAILS,
    args: [0, 0],
    options: OPTIONS,
    run: async (input, io) => {
      const users = await everybody(input, io);
      if (input.on("json")) outJson(io, { users });
      else for (const line of tableOf(users)) io.out(line);
      return EXIT.ok;
    },
  },
  {
    name: "user disable",
    summary: "shut a user out: connections end, runs are aborted, nothing of theirs lets them in",
    usage: "USER",
    details: DETAILS,
    args: [1, 1],
    options: OPTIONS,
    run: (input, io) => decide(input, io, true),
  },
  {
    name: "user enable",
    summary: "let a user in again who was disabled",
    usage: "USER",
    details: DETAILS,
    args: [1, 1],
    options: OPTIONS,
    run: (input, io) => decide(input, io, false),
  },
  {
    name: "user delete",
    summary: "end a user, with all their credentials",
    usage: "USER",
    details: `Say what becomes of their sessions: --delete-sessions or --transfer-to. ${DETAILS}`,
    args: [1, 1],
    options: {
      "delete-sessions": { summary: "their sessions are erased, for good" },
      "transfer-to": { value: "USER", summary: "their sessions are this user's, under their ses_ ids" },
      ...OPTIONS,
    },
    run: async (input, io) => {
      const user = input.args[0] ?? "";
      const heir = input.text("transfer-to");
      if (input.on("delete-sessions") === (heir !== undefined)) {
        throw new UsageError(
          "user delete: say what becomes of their sessions, with either --delete-sessions or --transfer-to USER",
        );
      }
      const choice =
        heir === undefined
          ? ({ sessions: "delete" } as const)
          : ({ sessions: "transfer", transfer_to: heir } as const);
      const answer = await administer(input, io, "user.delete", { user, ...choice });
      if (input.on("json")) outJson(io, answer);
      else
        io.out(`deleted; sessions ${heir === undefined ? "erased" : `given to ${heir}`}: ${answer.sessions}`);
      return EXIT.ok;
    },
  },
];

async function everybody(input: Input, io: Io): Promise<User[]> {
  const users: User[] = [];
  let cursor: string | undefined;
  do {
    const page = { limit: 200, ...(cursor !== undefined && { cursor }) };
    const answer: ResultFor<"user.list"> = await administer(input, io, "user.list", page);
    users.push(...answer.users);
    cursor = answer.next;
  } while (cursor !== undefined);
  return users;
}

async function decide(input: Input, io: Io, disabled: boolean): Promise<number> {
  const answer = await administer(input, io, "user.disable", { user: input.args[0] ?? "", disabled });
  if (input.on("json")) outJson(io, answer);
  else io.out(disabled ? "disabled" : "enabled");
  return EXIT.ok;
}

function tableOf(users: readonly User[]): string[] {
  const rows = users.map(({ user, role, scopes, last_used_at, ...each }) => [
    user,
    each.deleting === true ? "being deleted" : each.disabled ? "disabled" : "enabled",
    role ?? (scopes.length === 0 ? "-" : scopes.join(" ")),
    ...[each.tokens, each.devices, each.auth_sessions, each.sessions, each.connections].map(String),
    moment(last_used_at),
  ]);
  const head = ["user", "state", "role", "tokens", "devices", "logins", "sessions", "open", "last used"];
  return table(head, rows);
}
