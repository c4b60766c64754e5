import type { Provider } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import { clip } from "./redact.ts";

/** Where a name leads. */
export interface Target {
  readonly provider: Provider;
  /** The id at the provider. */
  readonly model: string;
  /** "provider/model": found again, it leads to the same. */
  readonly name: string;
}

/** @throws GatewayError INVALID_REQUEST {kind:"model", allowed} for a model that is not on its provider's list. */
export type FindModel = (name: string) => Target;

const NAMES_SHOWN = 20;

/**
 * "a/b" is model b of provider a where a is there; every other name is one of the default provider's.
 * @throws GatewayError UNAVAILABLE as it is asked, when there is no such default provider.
 */
export function createFindModel(providers: () => readonly Provider[], default_provider: string): FindModel {
  const byName = (name: string): Provider | undefined => providers().find((each) => each.name === name);
  return (name) => {
    const slash = name.indexOf("/");
    const named = slash > 0 ? byName(name.slice(0, slash)) : undefined;
    const provider = named ?? byName(default_provider);
    if (provider === undefined) throw missing(default_provider, providers());
    const model = named === undefined ? name : name.slice(slash + 1);
    const allowed = provider.models();
    if (model === "" || (allowed.length > 0 && !allowed.includes(model)))
      throw refuse(name, provider, allowed);
    return { provider, model, name: `${provider.name}/${model}` };
  };
}

function missing(default_provider: string, providers: readonly Provider[]): GatewayError {
  return new GatewayError(
    "UNAVAILABLE",
    `llm.default_provider is "${default_provider}", which is not configured: ` +
      `add [llm.providers.${default_provider}], or set it to one of: ${providers.map(({ name }) => name).join(", ")}`,
  );
}

function refuse(name: string, provider: Provider, allowed: readonly string[]): GatewayError {
  const names = allowed.slice(0, NAMES_SHOWN).map((model) => `${provider.name}/${model}`);
  const more = allowed.length > NAMES_SHOWN ? ", …" : "";
  const hint =
    names.length === 0 ? `name one after "${provider.name}/"` : `choose one of ${names.join(", ")}${more}`;
  return new GatewayError("INVALID_REQUEST", `no model "${clip(name, 80)}" here: ${hint}`, {
    details: { kind: "model", allowed: names },
  });
}
