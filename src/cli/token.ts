import type { ResultFor } from "../client/methods.ts";
import { SCOPES } from "../protocol/schema.ts";
import type { Command, OptionSpecs } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { administer } from "./administer.ts";
import { TARGET_OPTIONS } from "./target.ts";

const OPTIONS: OptionSpecs = { json: { summary: "as JSON" }, ...TARGET_OPTIONS };
const DETAILS = "Works on the running gateway; with none running on the store itself.";

export const tokenCommands: readonly Command[] = [
  {
    name: "token create",
    summary: "make a token and print it, this once",
    usage: "NAME",
    details: DETAILS,
    args: [1, 1],
    options: {
      user: { value: "USER", summary: "whose data it reaches; default: yours" },
      role: { value: "ROLE", summary: "viewer, user, operator or admin" },
      scopes: { value: "A,B", summary: `instead of a role: some of ${SCOPES.join(", ")}` },
      "expires-in": { value: "SECONDS", summary: "default: never" },
      ...OPTIONS,
    },
    run: async (input, io) => {
      const [user, role, scopes] = [input.text("user"), input.text("role"), input.text("scopes")];
      const expires_in = input.text("expires-in");
      const params = {
        name: input.args[0],
        ...(user !== undefined && { user }),
        ...(role !== undefined && { role: role.toLowerCase() }),
        ...(scopes !== undefined && { scopes: scopes.split(",").map((scope) => scope.trim()) }),
        ...(expires_in !== undefined && { expires_in_secs: parseSeconds(expires_in) }),
      };
      const issued = (await administer(input, io, "token.create", params)) as ResultFor<"token.create">;
      if (input.on("json")) outJson(io, issued);
      else tellIssued(issued, io);
      return EXIT.ok;
    },
  },
  {
    name: "token list",
    summary: "the tokens, without their secrets",
    usage: "",
    details: DETAILS,
    args: [0, 0],
    options: OPTIONS,
    run: async (input, io) => {
      const answer = (await administer(input, io, "token.list", {})) as ResultFor<"token.list">;
      if (input.on("json")) outJson(io, answer);
      else for (const line of table(answer.tokens)) io.out(line);
      return EXIT.ok;
    },
  },
  {
    name: "token rotate",
    summary: "a new secret; the old one stops working at once",
    usage: "TOKEN_ID",
    details: DETAILS,
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const params = { token_id: input.args[0] };
      const issued = (await administer(input, io, "token.rotate", params)) as ResultFor<"token.rotate">;
      if (input.on("json")) outJson(io, issued);
      else tellIssued(issued, io);
      return EXIT.ok;
    },
  },
  {
    name: "token revoke",
    summary: "end a token and every connection that used it",
    usage: "TOKEN_ID",
    details: DETAILS,
    args: [1, 1],
    options: OPTIONS,
    run: async (input, io) => {
      const params = { token_id: input.args[0] };
      const answer = (await administer(input, io, "token.revoke", params)) as ResultFor<"token.revoke">;
      if (input.on("json")) outJson(io, answer);
      else io.out(answer.revoked ? "revoked" : "it was revoked before");
      return EXIT.ok;
    },
  },
];

function tellIssued({ token, token_id, user, scopes }: ResultFor<"token.create">, io: Io): void {
  io.out(token);
  io.err(`${token_id}: user ${user}, ${scopes.join(" ")}. This is the only time it is shown.`);
}

function table(tokens: ResultFor<"token.list">["tokens"]): string[] {
  const rows = tokens.map(({ token_id, name, user, scopes, last_used_at, expires_at }) => [
    token_id,
    name,
    user,
    expires_at === undefined ? "never" : new Date(expires_at).toISOString(),
    last_used_at === undefined ? "never" : new Date(last_used_at).toISOString(),
    scopes.join(" "),
  ]);
  const all = [["id", "name", "user", "expires", "last used", "scopes"], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

function parseSeconds(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--expires-in takes seconds, not "${text}"`);
  return Number(text);
}
