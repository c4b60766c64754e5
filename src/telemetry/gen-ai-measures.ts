import { Histogram } from "../core/histogram.ts";
import type { Usage } from "../protocol/entities.ts";
import type { Family, Labels, Spread } from "./family.ts";

/** The bounds that the conventions advise. */
const TOKENS = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304];
const SECS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/** Models that are told apart. */
const MODELS_MAX = 64;

interface Model {
  readonly labels: Labels;
  readonly input: Histogram;
  readonly output: Histogram;
  readonly duration: Histogram;
  readonly failed: Histogram;
}

/** What models did, by the names that OpenTelemetry has for it. */
export class GenAiMeasures {
  readonly #models = new Map<string, Model>();

  /** `model`: "provider/model". `error`: what went wrong. */
  chat(model: string, secs: number, usage: Usage | undefined, error: string | undefined): void {
    const of = this.#of(model);
    (error === undefined ? of.duration : of.failed).observe(secs);
    if (usage === undefined) return;
    of.input.observe(usage.input_tokens);
    of.output.observe(usage.output_tokens);
  }

  families(): Family[] {
    const all = [...this.#models.values()];
    const tokens = (each: Model, type: "input" | "output"): Spread => ({
      labels: { ...each.labels, "gen_ai.token.type": type },
      histogram: each[type],
    });
    return [
      {
        kind: "histogram",
        name: "gen_ai.client.token.usage",
        help: "Tokens of calls of models.",
        spreads: all.flatMap((each) => [tokens(each, "input"), tokens(each, "output")]),
      },
      {
        kind: "histogram",
        name: "gen_ai.client.operation.duration",
        help: "How long calls of models took.",
        spreads: all.flatMap(({ labels, duration, failed }) => [
          { labels, histogram: duration },
          ...(failed.count > 0
            ? [{ labels: { ...labels, "error.type": "partial" }, histogram: failed }]
            : []),
        ]),
      },
    ];
  }

  #of(model: string): Model {
    const name = this.#models.has(model) || this.#models.size < MODELS_MAX ? model : "other/other";
    const known = this.#models.get(name);
    if (known !== undefined) return known;
    const at = name.indexOf("/");
    const made: Model = {
      labels: {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": name.slice(0, Math.max(at, 0)),
        "gen_ai.request.model": name.slice(at + 1),
      },
      input: new Histogram(TOKENS),
      output: new Histogram(TOKENS),
      duration: new Histogram(SECS),
      failed: new Histogram(SECS),
    };
    this.#models.set(name, made);
    return made;
  }
}
