import type { ResultFor } from "../client/methods.ts";
import type { Command, OptionSpecs } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import { GRANT_OPTIONS, grantOf } from "./grant.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { administer } from "./administer.ts";
import { moment, table } from "./table.ts";
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
      ...GRANT_OPTIONS,
      "expires-in": { value: "SECONDS", summary: "default: never" },
      ...OPTIONS,
    },
    run: async (input, io) => {
      const expires_in = input.text("expires-in");
      const params = {
        name: input.args[0] ?? "",
        ...grantOf(input),
        ...(expires_in !== undefined && { expires_in_secs: parseSeconds(expires_in) }),
      };
      const issued = await administer(input, io, "token.create", params);
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
      const answer = await administer(input, io, "token.list", {});
      if (input.on("json")) outJson(io, answer);
      else for (const line of tableOf(answer.tokens)) io.out(line);
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
      const params = { token_id: input.args[0] ?? "" };
      const issued = await administer(input, io, "token.rotate", params);
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
      const params = { token_id: input.args[0] ?? "" };
      const answer = await administer(input, io, "token.revoke", params);
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

function tableOf(tokens: ResultFor<"token.list">["tokens"]): string[] {
  return table(
    ["id", "name", "user", "expires", "last used", "scopes"],
    tokens.map(({ token_id, name, user, scopes, last_used_at, expires_at }) => [
      token_id,
      name,
      user,
      moment(expires_at),
      moment(last_used_at),
      scopes.join(" "),
    ]),
  );
}

function parseSeconds(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--expires-in takes seconds, not "${text}"`);
  return Number(text);
}
