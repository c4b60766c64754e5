import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { useStore } from "../store.ts";
import { theme } from "../theme.ts";

export interface Line {
  readonly label: string;
  readonly values: readonly (number | null)[];
}

interface ChartProps {
  readonly title: string;
  readonly unit: string;
  /** Milliseconds since the epoch. */
  readonly times: readonly number[];
  /** Three at most. */
  readonly lines: readonly Line[];
  /** They are days. */
  readonly days?: boolean;
}

const HEIGHT = 120;
const dayOf = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const timeOf = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Lines over time, drawn; the last values are told beside it, so nobody has to see it. */
export function Chart({ title, unit, times, lines, days = false }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const chosen = useStore(theme);
  const labels = lines.map(({ label }) => label).join("|");
  useEffect(() => {
    const box = place.current;
    if (box === null) return undefined;
    const made = new uPlot(optionsOf(box, labels.split("|"), days ? dayOf : timeOf), [[]], box);
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height: HEIGHT }));
    resized.observe(box);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
    // The colours of the page are read when it is made.
  }, [labels, chosen, days]);
  useEffect(() => {
    // One point is no line.
    if (times.length > 1)
      plot.current?.setData([times.map((at) => at / 1_000), ...lines.map(({ values }) => [...values])]);
  }, [times, lines, labels, chosen, days]);
  return (
    <figure className="chart" data-samples={times.length}>
      <figcaption>
        <span>{title}</span>
        <span className="values">
          {lines.map(({ label, values }, at) => (
            <span key={label} className={`series-${at + 1}`}>
              {lines.length > 1 && `${label} `}
              <strong>{shown(values.at(-1))}</strong>
            </span>
          ))}
          <span className="unit">{unit}</span>
        </span>
      </figcaption>
      <div ref={place} className="plot" aria-hidden="true" />
    </figure>
  );
}

function optionsOf(box: HTMLElement, labels: readonly string[], format: Intl.DateTimeFormat): uPlot.Options {
  const style = getComputedStyle(box);
  const colour = (name: string): string => style.getPropertyValue(name);
  const axis: uPlot.Axis = {
    stroke: colour("--soft"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  return {
    width: box.clientWidth,
    height: HEIGHT,
    cursor: { show: false },
    legend: { show: false },
    padding: [8, 8, 0, 0],
    scales: { y: { range: (_plot, _least, most) => [0, ceilingOf(most)] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 22,
        space: 90,
        values: (_plot, splits) => splits.map((secs) => format.format(secs * 1_000)),
      },
      {
        ...axis,
        size: 44,
        splits: (_plot, _at, least, most) => [least, (least + most) / 2, most],
      },
    ],
    series: [
      {},
      ...labels.map((label, at): uPlot.Series => ({
        label,
        stroke: colour(`--series-${at + 1}`),
        width: 1.75,
        points: { show: false },
        spanGaps: true,
      })),
    ],
  };
}

/** A round number over all of them, so that the axis stays still. */
function ceilingOf(most: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 2)));
  const step = [1, 2, 4, 6, 10].find((each) => each * power >= most) ?? 10;
  return Math.max(2, step * power);
}

function round(value: number): number {
  return value >= 10 ? Math.round(value) : Math.round(value * 10) / 10;
}

function shown(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : round(value).toLocaleString();
}
