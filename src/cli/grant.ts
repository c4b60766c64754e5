import type { ParamsFor } from "../client/methods.ts";
import type { Scope } from "../protocol/schema.ts";
import { SCOPES } from "../protocol/schema.ts";
import type { Input, OptionSpecs } from "./args.ts";
import { UsageError } from "./exit.ts";

const ROLES = ["viewer", "user", "operator", "admin"] as const;

/** Flags that say whose data is reached, and what may be done with it. */
export const GRANT_OPTIONS: OptionSpecs = {
  user: { value: "USER", summary: "whose data it reaches; default: yours" },
  role: { value: "ROLE", summary: `${ROLES.join(", ")}; default: user` },
  scopes: { value: "A,B", summary: `instead of a role: some of ${SCOPES.join(", ")}` },
};

export type Grant = Pick<ParamsFor<"token.create">, "user" | "role" | "scopes">;

/** Those of them that were given. @throws UsageError for what is no role or scope */
export function grantOf(input: Input): Grant {
  const [user, role, scopes] = [input.text("user"), input.text("role"), input.text("scopes")];
  return {
    ...(user !== undefined && { user }),
    ...(role !== undefined && { role: oneOf(ROLES, role.toLowerCase(), "role") }),
    ...(scopes !== undefined && { scopes: scopesFrom(scopes) }),
  };
}

/** "chat.read, chat.write". @throws UsageError */
export function scopesFrom(text: string): Scope[] {
  const names = text.split(",").map((each) => each.trim());
  return names.filter((each) => each !== "").map((each) => oneOf(SCOPES, each, "scope"));
}

function oneOf<T extends string>(known: readonly T[], given: string, what: string): T {
  const found = known.find((each) => each === given);
  if (found !== undefined) return found;
  throw new UsageError(`"${given}" is no ${what}: use one of ${known.join(", ")}`);
}
