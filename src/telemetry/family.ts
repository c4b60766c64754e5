import type { Histogram } from "../core/histogram.ts";

export type Labels = Readonly<Record<string, string>>;

/** Of a counter or a gauge; null: it cannot be known now, and is left out. */
export interface Value {
  readonly labels: Labels;
  readonly value: number | null;
}

export interface Spread {
  readonly labels: Labels;
  readonly histogram: Histogram;
}

/** Measured values of one name. Every label has few values, whatever clients send. */
export type Family =
  | {
      readonly kind: "counter" | "gauge";
      /** Without the `_total` that a counter has in the text. */
      readonly name: string;
      readonly help: string;
      readonly values: readonly Value[];
    }
  | {
      readonly kind: "histogram";
      readonly name: string;
      readonly help: string;
      readonly spreads: readonly Spread[];
    };

/** What is measured, as it is at the moment of the call. */
export type Source = () => readonly Family[];

/** Of a family with one value and no label. */
export function one(kind: "counter" | "gauge", name: string, help: string, value: number | null): Family {
  return { kind, name, help, values: [{ labels: {}, value }] };
}

/** A value for each entry, whose key is what the label says. */
export function by(
  kind: "counter" | "gauge",
  name: string,
  help: string,
  label: string,
  entries: Iterable<readonly [string, number | null]>,
): Family {
  const values = [...entries].map(([key, value]) => ({ labels: { [label]: key }, value }));
  return { kind, name, help, values };
}

/** A histogram for each entry, whose key is what the label says. */
export function spread(
  name: string,
  help: string,
  histograms: Histogram | readonly [label: string, Readonly<Record<string, Histogram>>],
): Family {
  if (!Array.isArray(histograms)) {
    return { kind: "histogram", name, help, spreads: [{ labels: {}, histogram: histograms as Histogram }] };
  }
  const [label, each] = histograms as readonly [string, Readonly<Record<string, Histogram>>];
  const spreads = Object.entries(each).map(([key, histogram]) => ({ labels: { [label]: key }, histogram }));
  return { kind: "histogram", name, help, spreads };
}
