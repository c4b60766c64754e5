import type { MethodDeps } from "./deps.ts";
import type { Call } from "./registry.ts";

/** Before a model is to be asked for somebody. @throws GatewayError CONFLICT {kind:"budget"} */
export async function requireBudget({ ledger }: Pick<MethodDeps, "ledger">, { user }: Call): Promise<void> {
  const loading = ledger.spending.load(user);
  const refused = (loading && (await loading)) ?? ledger.spending.over(user);
  if (refused !== null) throw refused;
}
