import type { Ledger, UsageTotals } from "../core/ledger.ts";
import type { PluginView } from "../core/plugins.ts";
import type { ModelRouter, Toolbox } from "../core/ports.ts";
import type { Family, Labels } from "./family.ts";
import { by } from "./family.ts";

export interface OutsideParts {
  readonly ledger: Pick<Ledger, "models" | "currency">;
  readonly router: Pick<ModelRouter, "states">;
  readonly toolbox: Pick<Toolbox, "list">;
  readonly plugins: () => readonly PluginView[];
}

/** Parts of what was counted as input or output are counted as such, too. */
const TOKENS = ["input", "output", "cached", "reasoning"] as const;
/** Costs are kept in billionths. */
const PARTS = 1e9;
const SERVERS = ["connecting", "ready", "failed", "stopped"] as const;
const PLUGINS = ["ready", "stale", "failed"] as const;

/** What models were used for. */
export function modelFamilies({ ledger }: Pick<OutsideParts, "ledger">): Family[] {
  const models = [...ledger.models()].map(([model, used]) => [labelsOf(model), used] as const);
  const values = (read: (used: UsageTotals) => number) =>
    models.map(([labels, used]) => ({ labels, value: read(used) }));
  return [
    {
      kind: "counter",
      name: "agentbus_model_calls",
      help: "Calls of models that answered, at least in part.",
      values: values(({ calls }) => calls),
    },
    {
      kind: "counter",
      name: "agentbus_model_calls_unknown",
      help: "Of these, calls whose provider told no usage.",
      values: values(({ unknown_calls }) => unknown_calls),
    },
    {
      kind: "counter",
      name: "agentbus_model_tokens",
      help: "Tokens; cached are some of input, reasoning some of output.",
      values: models.flatMap(([labels, used]) =>
        TOKENS.map((kind) => ({ labels: { ...labels, kind }, value: used[kind] })),
      ),
    },
    {
      kind: "counter",
      name: "agentbus_model_cost",
      help: "What calls cost whose model has a price.",
      values: models.flatMap(([labels, { cost }]) =>
        cost === undefined ? [] : [{ labels: { ...labels, currency: ledger.currency }, value: cost / PARTS }],
      ),
    },
  ];
}

/** What the gateway works with, and whether it is there. */
export function outsideFamilies({ router, toolbox, plugins }: OutsideParts): Family[] {
  const servers = toolbox.list().servers.map(({ state }) => state);
  const states = plugins().map(({ state }) => state);
  return [
    by(
      "gauge",
      "agentbus_provider_ready",
      "1 while a provider can be asked.",
      "provider",
      router.states().map(({ name, ready }) => [name, Number(ready)]),
    ),
    by(
      "gauge",
      "agentbus_tool_servers",
      "Tool servers, by how they are.",
      "state",
      SERVERS.map((each) => [each, servers.filter((state) => state === each).length]),
    ),
    by(
      "gauge",
      "agentbus_plugins",
      "Plug-ins, by how they are.",
      "state",
      PLUGINS.map((each) => [each, states.filter((state) => state === each).length]),
    ),
  ];
}

function labelsOf(model: string): Labels {
  const at = model.indexOf("/");
  return at < 0 ? { provider: model, model } : { provider: model.slice(0, at), model: model.slice(at + 1) };
}
